//! `-S`: all services and servers, as the commands that make them.

use super::grammar::print;
use super::list;
use super::names::Naming;
use crate::command::Command;
use crate::snapshot::{ServerSnapshot, ServiceSnapshot, Snapshot};
use crate::state::Server;

/// The text that `-R` reads. As in ipvsadm, timeouts and thresholds are not in it.
pub(super) fn save(snapshot: &Snapshot, naming: &mut Naming<'_>) -> String {
    let mut services: Vec<&ServiceSnapshot> = snapshot.services.iter().collect();
    list::sort_services(&mut services);
    naming.learn(services.iter().flat_map(|&service| list::addresses(service)));
    let mut text = String::new();
    for service in services {
        let (key, options) = (service.key, service.options);
        text += &print(&Command::AddService { service: key, options }, naming);
        text.push('\n');
        let mut servers: Vec<&ServerSnapshot> = service.servers.iter().collect();
        list::sort_servers(&mut servers);
        for server in servers {
            let server = Server { upper: 0, lower: 0, ..server.server };
            text += &print(&Command::AddServer { service: key, server }, naming);
            text.push('\n');
        }
    }
    text
}
