//! `-S`: all services and servers, as the commands that make them.

use super::grammar::print;
use super::list;
use super::names::Naming;
use crate::command::Command;
use crate::snapshot::{ServerSnapshot, ServiceSnapshot, Snapshot};
use crate::state::{Options, Server, ServiceKey};

/// The text that `-R` reads. As in ipvsadm, timeouts and thresholds are not in it.
pub(super) fn save(snapshot: &Snapshot, naming: &mut Naming<'_>) -> String {
    let mut services: Vec<&ServiceSnapshot> = snapshot.services.iter().collect();
    list::sort_services(&mut services);
    naming.learn(services.iter().flat_map(|&service| list::addresses(service)));
    let mut text = String::new();
    for service in services {
        let key = service.key;
        let options = Options { sched_flags: service.options.named_flags(), ..service.options };
        add(&mut text, key, &Command::AddService { service: key, options }, naming);
        if service.options.sched_flags != 0 && options.sched_flags == 0 {
            text.pop();
            // As in ipvsadm, the option without any name.
            text += " -b \n";
        }
        let mut servers: Vec<&ServerSnapshot> = service.servers.iter().collect();
        list::sort_servers(&mut servers);
        for server in servers {
            let server = Server { upper: 0, lower: 0, ..server.server };
            add(&mut text, key, &Command::AddServer { service: key, server }, naming);
        }
    }
    text
}

/// Adds a line about a service. As in ipvsadm a mark has a sign; `-R` reads it so.
fn add(text: &mut String, service: ServiceKey, command: &Command, naming: &mut Naming<'_>) {
    let mut line = print(command, naming);
    if let ServiceKey::Mark(mark) = service {
        let [plain, signed] = [mark.mark.to_string(), mark.mark.cast_signed().to_string()];
        line = line.replacen(&format!(" -f {plain}"), &format!(" -f {signed}"), 1);
    }
    *text += &line;
    text.push('\n');
}
