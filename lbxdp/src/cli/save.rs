//! `-S`: all services and servers, as the commands that make them.

use super::grammar::print;
use super::list;
use super::names::Naming;
use crate::command::Command;
use crate::snapshot::{ServerSnapshot, ServiceSnapshot, Snapshot};

/// The text that `-R` reads. As in ipvsadm, the timeouts are not in it.
pub(super) fn save(snapshot: &Snapshot, naming: &mut Naming<'_>) -> String {
    let mut services: Vec<&ServiceSnapshot> = snapshot.services.iter().collect();
    list::sort_services(&mut services);
    naming.learn(services.iter().flat_map(|&service| list::addresses(service)));
    let mut text = String::new();
    for service in services {
        let (key, scheduler) = (service.key, service.scheduler);
        text += &print(&Command::AddService { service: key, scheduler }, naming);
        text.push('\n');
        let mut servers: Vec<&ServerSnapshot> = service.servers.iter().collect();
        list::sort_servers(&mut servers);
        for server in servers {
            text += &print(&Command::AddServer { service: key, server: server.server }, naming);
            text.push('\n');
        }
    }
    text
}
