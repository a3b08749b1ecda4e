//! `lbxdp realserver` and `lbxdp director`, at work: look, plan, remember, do.

use std::fmt::Write as _;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::director::{self, Director};
use super::look::look;
use super::memory::{Memory, keep, recall};
use super::netlink::Netlink;
use super::plan::{self, Change, Plan};
use super::realserver::RealServer;
use super::render::{self, Print};
use super::step::Step;
use super::surroundings::Surroundings;
use super::words::{DirectorVerb, RealServerVerb, Verb};
use super::{HostError, carry_out};
use crate::cli::client::{Client, ClientError, Director as _};
use crate::daemon::load::chain;
use crate::lan;
use crate::message::{Request, Response};
use crate::tables::pins::Instance;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Good,
    /// `status` has found something wrong.
    Wrong,
}

/// A role that a machine may have.
trait Role: Serialize + DeserializeOwned + Clone {
    const NAME: &'static str;

    fn wanted(&self, there: &Surroundings) -> Result<Vec<Change>, HostError>;

    /// Whether the daemon's services play a part.
    fn has_services(&self) -> bool;
}

impl Role for RealServer {
    const NAME: &'static str = "realserver";

    fn wanted(&self, there: &Surroundings) -> Result<Vec<Change>, HostError> {
        self.wanted(there)
    }

    fn has_services(&self) -> bool {
        false
    }
}

impl Role for Director {
    const NAME: &'static str = "director";

    fn wanted(&self, there: &Surroundings) -> Result<Vec<Change>, HostError> {
        self.wanted(there)
    }

    fn has_services(&self) -> bool {
        !self.services.is_empty()
    }
}

/// Does what `lbxdp realserver` was told.
pub fn run_realserver(verb: RealServerVerb) -> Result<Outcome, HostError> {
    match verb {
        Verb::Start { wish, print, instance } => start(&instance.name, wish.wish()?, print),
        Verb::Stop { print, instance } => stop::<RealServer>(&instance.name, print),
        Verb::Status { wish, instance } => status::<RealServer>(&instance.name, wish.wish()?),
    }
}

/// Does what `lbxdp director` was told.
pub fn run_director(verb: DirectorVerb) -> Result<Outcome, HostError> {
    match verb {
        DirectorVerb::Role(Verb::Start { wish, print, instance }) => {
            start(&instance.name, wish.wish()?, print)
        }
        DirectorVerb::Role(Verb::Stop { print, instance }) => stop::<Director>(&instance.name, print),
        DirectorVerb::Role(Verb::Status { instance, .. }) => status::<Director>(&instance.name, None),
        DirectorVerb::Announce { vips, instance } => announce(&instance.name, vips),
    }
}

/// Tells the neighbours of VIPs that are here.
fn announce(instance: &Instance, mut vips: Vec<IpAddr>) -> Result<Outcome, HostError> {
    if vips.is_empty() {
        vips = recall::<Director>(instance, Director::NAME)?.map_or(vips, |memory| memory.wish.vips);
    }
    if vips.is_empty() {
        return Err(HostError::NoVips);
    }
    let there = look(&Netlink::open()?, instance)?;
    for vip in vips {
        let is_asked = |name: &str| there.asked().any(|link| link.name == name && link.is_up);
        let mut places = there.places(vip).filter(|place| is_asked(&place.interface)).peekable();
        if places.peek().is_none() {
            return Err(HostError::NotHere(vip));
        }
        for place in places {
            let step = Step::Announce { interface: place.interface.clone(), address: vip };
            lan::announce(&place.interface, vip)
                .map_err(|error| HostError::Step(step.to_string(), error.into()))?;
        }
    }
    Ok(Outcome::Good)
}

fn start<R: Role>(instance: &Instance, wish: R, print: Option<Print>) -> Result<Outcome, HostError> {
    let netlink = Netlink::open()?;
    let before = recall::<R>(instance, R::NAME)?;
    let there = surroundings(&netlink, instance, wish.has_services() || has_services(before.as_ref()))?;
    let changes = before.as_ref().map(|memory| memory.changes.as_slice()).unwrap_or_default();
    let wanted = wish.wanted(&plan::origin(&there, changes))?;
    let plan = plan::plan(&there, changes, |_| wanted.clone());
    match print {
        Some(Print::Commands) => write(&render::commands(&plan.steps, &there, instance))?,
        Some(Print::Sysctl) => write(&render::sysctl(&wanted))?,
        Some(Print::Networkd) => write(&render::networkd(&wanted))?,
        None => {
            // First: what is done by a start that is killed can be taken back. What it lists and is not so is left alone then.
            let both = plan::together(changes, &plan.remembered);
            keep(instance, R::NAME, Some(&Memory { wish: wish.clone(), changes: both }))?;
            if let Err(error) =
                carry_out::carry_out(&netlink, instance, &there, &plan.steps, &plan.remembered)
            {
                // What could not all be taken back is still to be: a stop tries it again.
                if !matches!(error, HostError::HalfDone(..))
                    && let Err(second) = keep(instance, R::NAME, before.as_ref())
                {
                    // It lists more than was done, which does no harm. Why it was not done is to be read last.
                    eprintln!("lbxdp: {}", chain(&second));
                }
                return Err(error);
            }
            keep(instance, R::NAME, Some(&Memory { wish, changes: plan.remembered }))?;
        }
    }
    Ok(Outcome::Good)
}

fn stop<R: Role>(instance: &Instance, is_printed: bool) -> Result<Outcome, HostError> {
    let memory = recall::<R>(instance, R::NAME)?.ok_or(HostError::NotStarted(R::NAME))?;
    let netlink = Netlink::open()?;
    let there = match surroundings(&netlink, instance, has_services(Some(&memory))) {
        Err(HostError::Daemon(ClientError::NotRunning(_))) => {
            have_gone(instance, &[instance.saved(), instance.pins()])?;
            surroundings(&netlink, instance, false)?
        }
        there => there?,
    };
    let Plan { steps, .. } = plan::unwound(&there, &memory.changes);
    if is_printed {
        write(&render::commands(&steps, &there, instance))?;
        return Ok(Outcome::Good);
    }
    for step in plan::changed_since(&there, &memory.changes) {
        eprintln!("lbxdp: left alone, for it was changed since: {step}");
    }
    carry_out::carry_out(&netlink, instance, &there, &steps, &memory.changes)?;
    keep::<R>(instance, R::NAME, None)?;
    Ok(Outcome::Good)
}

/// With the daemon its services have gone: but not if they are still forwarded by, or come back with the next one.
fn have_gone(instance: &Instance, traces: &[PathBuf]) -> Result<(), HostError> {
    match traces.iter().find(|trace| trace.exists()) {
        Some(trace) => Err(HostError::Away(instance.clone(), trace.clone())),
        None => Ok(()),
    }
}

fn status<R: Role>(instance: &Instance, wish: Option<R>) -> Result<Outcome, HostError> {
    let memory = recall::<R>(instance, R::NAME)?;
    let is_started = memory.is_some();
    let (remembered, changes) =
        memory.map_or((None, Vec::new()), |memory| (Some(memory.wish), memory.changes));
    let wish = wish.or(remembered).ok_or(HostError::NoVips)?;
    let netlink = Netlink::open()?;
    let there = surroundings(&netlink, instance, wish.has_services())?;
    let wanted = wish.wanted(&plan::origin(&there, &changes))?;
    let wrong: Vec<&Step> = wanted
        .iter()
        .map(|change| &change.step)
        .filter(|step| !matches!(step, Step::Announce { .. }) && !step.is_so(&there))
        .collect();
    if wrong.is_empty() {
        let by = if is_started { "" } else { "; it was not set up by lbxdp" };
        write(&format!("{}: all is as it should be{by}\n", R::NAME))?;
        return Ok(Outcome::Good);
    }
    let mut text = String::new();
    for step in wrong {
        let (symptom, reason) = (symptom(step, &there), step.reason());
        // Writing into a string cannot fail.
        let mend = step.typed(&there, instance);
        let _ = writeln!(text, "wrong: {symptom}\n  why it matters: {reason}\n  mend: {mend}");
    }
    write(&text)?;
    Ok(Outcome::Wrong)
}

/// What is to be seen where a step is missing.
fn symptom(step: &Step, there: &Surroundings) -> String {
    match step {
        Step::Sysctl { name, value } => {
            let is = there.sysctls.get(name).map_or("absent", String::as_str);
            format!("{} is {is}, not {value}", super::sysctl_name(name))
        }
        Step::AddAddress(address) => format!("{} is not on {}", address.address, address.interface),
        Step::ChangeRoute(route) => match route.advmss {
            Some(advmss) => {
                format!("the route to {} advertises segments of more than {advmss} bytes", route.destination)
            }
            None => format!("the route to {} is another one", route.destination),
        },
        Step::SetLink { name, .. } if there.link(name).is_none() => format!("there is no {name}"),
        Step::SetLink { name, .. } => format!("{name} is down"),
        Step::StartDecapsulator { interface, .. } => {
            format!("no decapsulator that was told this is on {interface}")
        }
        Step::AddService(line) => match there.service_like(line) {
            Some(found) => format!("the daemon has {found}, not {line}"),
            None => format!("the daemon has no such service or server: {line}"),
        },
        other => other.to_string(),
    }
}

fn has_services<R: Role>(memory: Option<&Memory<R>>) -> bool {
    let has = |memory: &Memory<R>| {
        let mut steps = memory.changes.iter().map(|change| &change.step);
        memory.wish.has_services() || steps.any(|step| matches!(step, Step::AddService(_)))
    };
    memory.is_some_and(has)
}

fn surroundings(
    netlink: &Netlink,
    instance: &Instance,
    with_services: bool,
) -> Result<Surroundings, HostError> {
    let mut there = look(netlink, instance)?;
    if with_services {
        there.services = match Client::new(instance.clone()).ask(&Request::Services)? {
            Response::Services(snapshot) => director::lines(&snapshot),
            other => return Err(ClientError::unexpected(&other).into()),
        };
    }
    Ok(there)
}

fn write(text: &str) -> Result<(), HostError> {
    std::io::stdout().write_all(text.as_bytes()).map_err(HostError::Output)
}

#[cfg(test)]
mod tests {
    use super::super::tests::server;
    use super::*;

    #[test]
    fn services_that_come_back_with_the_daemon_have_not_gone() {
        let nowhere = std::env::temp_dir().join("lbxdp-no-such-file");
        let there = std::env::temp_dir();
        let instance = Instance::default();
        assert!(have_gone(&instance, std::slice::from_ref(&nowhere)).is_ok());
        match have_gone(&instance, &[nowhere, there.clone()]) {
            Err(HostError::Away(_, trace)) => assert_eq!(trace, there),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn another_weight_is_no_missing_server() {
        let mut there = server();
        there.services = vec!["-a -t 10.0.0.100:80 -r 10.0.0.11:80 -g -w 1".to_owned()];
        let (other, missing) =
            ["11", "12"].map(|last| format!("-a -t 10.0.0.100:80 -r 10.0.0.{last}:80 -g -w 2")).into();
        let words = |line: &String, instance: &str| {
            let step = Step::AddService(line.clone());
            (symptom(&step, &there), step.typed(&there, &instance.parse().unwrap()))
        };
        let (seen, mend) = words(&other, "default");
        assert_eq!(seen, format!("the daemon has {}, not {other}", there.services[0]));
        assert_eq!(mend, "lbxdp -e -t 10.0.0.100:80 -r 10.0.0.11:80 -g -w 2");
        let (seen, mend) = words(&missing, "web");
        assert!(seen.starts_with("the daemon has no such"));
        assert_eq!(mend, "LBXDP_INSTANCE=web lbxdp -a -t 10.0.0.100:80 -r 10.0.0.12:80 -g -w 2");
        there.services = vec!["-A -t 10.0.0.100:80 -s rr".to_owned()];
        let step = Step::AddService("-A -t 10.0.0.100:80 -s wrr".to_owned());
        assert_eq!(step.typed(&there, &Instance::default()), "lbxdp -E -t 10.0.0.100:80 -s wrr");
    }
}
