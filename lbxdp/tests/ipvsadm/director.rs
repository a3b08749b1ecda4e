//! A director in memory: the same commands on the same state, without packets.

use lbxdp::cli::client::{ClientError, Director, EachPiece};
use lbxdp::message::{Request, Response};
use lbxdp::snapshot::{Counters, Rates, ServerSnapshot, ServiceSnapshot, Snapshot};
use lbxdp::state::{Server, Service, ServiceKey, State};

/// The buckets of the machine the answers were recorded on.
const TABLE_SIZE: u32 = 4096;

/// The interfaces of that machine.
fn mtu_of(interface: &str) -> Option<u32> {
    match interface {
        "eth0" => Some(1500),
        "eth1" => Some(9000),
        "eth2" => Some(1280),
        "lo" => Some(65536),
        _ => None,
    }
}

/// Carries commands out on a state, and nothing else.
#[derive(Default)]
pub(crate) struct InMemory {
    pub(crate) state: State,
}

impl Director for InMemory {
    fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        Ok(match request {
            Request::Change(command) => {
                match command.clone().on_interfaces(mtu_of).and_then(|command| command.apply(&self.state)) {
                    Ok(state) => {
                        self.state = state;
                        Response::Done
                    }
                    Err(refusal) => Response::Refused(refusal),
                }
            }
            Request::Changes(commands) => {
                let answers = commands.iter().map(|command| self.ask(&Request::Change(command.clone())));
                Response::Changes(answers.collect::<Result<_, _>>()?)
            }
            Request::Services => Response::Services(snapshot(&self.state)),
            Request::Daemons => Response::Daemons(self.state.daemons.clone()),
            Request::Timeouts => Response::Timeouts(self.state.timeouts),
            Request::Connections => Response::Connections { count: 0 },
            Request::Marks
            | Request::Settings
            | Request::Status
            | Request::Totals
            | Request::Moment
            | Request::Watch(_) => Response::Failed("ipvsadm never asks for it".into()),
        })
    }

    fn connections(&mut self, _: &mut EachPiece<'_>) -> Result<(), ClientError> {
        Ok(())
    }
}

fn snapshot(state: &State) -> Snapshot {
    let services = state.services.iter().map(|(&key, service)| service_snapshot(key, service)).collect();
    Snapshot { table_size: TABLE_SIZE, hertz: 250, services }
}

fn service_snapshot(key: ServiceKey, service: &Service) -> ServiceSnapshot {
    ServiceSnapshot {
        key,
        options: service.options,
        counters: Counters::default(),
        rates: Rates::default(),
        servers: service.servers.iter().copied().map(server_snapshot).collect(),
    }
}

fn server_snapshot(server: Server) -> ServerSnapshot {
    ServerSnapshot {
        server,
        active: 0,
        inactive: 0,
        persistent: 0,
        counters: Counters::default(),
        rates: Rates::default(),
    }
}
