//! Loops as the kernel's verifier likes them: a step is looked at once, however often it is done.

use core::ops::ControlFlow;

/// Who can walk.
pub trait Walker: Sized {
    /// 0, but not for the verifier to know. Whatever a walk compares and changes begins with this.
    ///
    /// Kernels before 6.7 look at the first step of a walk only, with the values it begins with: if those are constants,
    /// they take comparisons that come out otherwise in later steps for dead code, and remove it.
    fn zero(&self) -> u32 {
        0
    }

    /// Does the steps 0, 1, 2 … until one breaks off, at most `times`. In the kernel this is `bpf_loop`.
    fn repeat<S: Step<Self>>(&self, times: u32, steps: &mut S) {
        for index in 0..times {
            if steps.step(self, index).is_break() {
                break;
            }
        }
    }
}

/// A walk, with what it has found so far.
pub trait Step<W> {
    /// One step of it.
    fn step(&mut self, walker: &W, index: u32) -> ControlFlow<()>;
}
