//! The packet in the entry, while somebody watches: if it was chosen, its head is copied before a stage gets it, that is
//! before anything of it is changed. (What the entry itself sends has been copied before, if anybody wants to see it.)

use lbxdp_common::client_hop::ClientHop;
use lbxdp_common::held::HeldHeader;
use lbxdp_common::steer::{Desk, Route, Stage, Stages, World};
use lbxdp_common::wire::Frame;
use lbxdp_common::{Address, Reason, Verdict};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::atomic::Row;
use crate::frame::{Packet, Window};
use crate::maps::Kernel;
use crate::watch_maps;

/// A packet.
pub(crate) struct WatchedFrame(pub(crate) Packet);

impl Frame for WatchedFrame {
    type Window<'a, const BYTES: usize> = Window<'a, BYTES>;

    #[inline(always)]
    fn window<const BYTES: usize>(&mut self) -> Option<Window<'_, BYTES>> {
        self.0.window()
    }

    #[inline(always)]
    fn read<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        self.0.read(offset)
    }

    #[inline(always)]
    fn write<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Option<()> {
        self.0.write(offset, value)
    }

    #[inline(always)]
    fn reaches(&self, bytes: u32) -> bool {
        self.0.reaches(bytes)
    }

    #[inline(always)]
    fn bytes(&self) -> u32 {
        self.0.bytes()
    }

    #[inline(always)]
    fn cut(&mut self, bytes: u32) -> Option<()> {
        self.0.cut(bytes)
    }

    #[inline(always)]
    fn grow_front(&mut self, bytes: u32) -> Option<()> {
        self.0.grow_front(bytes)
    }

    #[inline(always)]
    fn cut_front(&mut self, bytes: u32) -> Option<()> {
        self.0.cut_front(bytes)
    }
}

impl<const AT_PORT: bool> Stages<WatchedFrame> for Kernel<AT_PORT> {
    #[inline(always)]
    fn enter(&self, stage: Stage, frame: &mut WatchedFrame) -> Result<Verdict, Reason> {
        if let Some(desk) = World::desk(self).map(Desk) {
            let mark = desk.mark();
            if mark.is_any() && !mark.is_copied() {
                desk.set_mark(watch_maps::copy_head(&frame.0, mark));
            }
        }
        self.enter(stage, &mut frame.0)
    }

    #[inline(always)]
    fn hold(&self, frame: &WatchedFrame, header: HeldHeader) -> bool {
        self.hold(&frame.0, header)
    }

    #[inline(always)]
    fn route<A: Address>(&self, frame: &WatchedFrame, from: A, to: A, row: ClientHop<Row>) -> Route {
        self.route(&frame.0, from, to, row)
    }
}
