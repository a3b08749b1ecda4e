//! The texts of `-v` and `-h`.

/// Exactly ipvsadm's: scripts look at it.
pub(super) const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";

/// What works today; behind the version line.
pub(super) fn help(program: &str) -> String {
    format!(
        "{VERSION}This is lbxdp speaking ipvsadm's language; {program} takes the same words and prints the same listings.

Change services:
  {program} -A SERVICE [-s SCHEDULER]         add a service
  {program} -E SERVICE [-s SCHEDULER]         replace the settings of a service
  {program} -D SERVICE                        delete a service with its servers
  {program} -C                                delete all services

Change the servers of a service:
  {program} -a SERVICE -r SERVER [-g] [-w N]  add a server
  {program} -e SERVICE -r SERVER [-g] [-w N]  replace the settings of a server
  {program} -d SERVICE -r SERVER              delete a server

Look:
  {program} -L [SERVICE] [-n] [--stats | --rate] [--exact] [--nosort]
                                     list all services, or one
  {program} -L -c [-n]                        list the connections
  {program} -L --timeout                      show the timeouts
  {program} -S [-n]                           print all services as commands
  {program} -R                                carry out commands from standard input, one a line

Other:
  {program} -Z [SERVICE]                      set the counters of all services, or one, to zero
  {program} --set TCP TCPFIN UDP              set the timeouts in seconds, 0 leaves one as it is
  {program} -h, -v                            this text, the version

SERVICE is -t ADDRESS:PORT (TCP) or -u ADDRESS:PORT (UDP), SERVER is ADDRESS[:PORT]. Addresses are IPv4
addresses or names of hosts, ports are numbers or names of services.

  -s, --scheduler NAME   rr, wrr or wlc; wlc if not given
  -g, --gatewaying       direct routing, the default
  -w, --weight N         0 to 2147483647; 1 if not given, 0 for no new connections
  -n, --numeric          numbers instead of names
  -X, --exact            numbers in full

Long forms: --add-service --edit-service --delete-service --clear --add-server --edit-server
--delete-server --list --save --restore --zero --tcp-service --udp-service --real-server --connection
--help --version. LBXDP_INSTANCE names the instance of the daemon, if not `default'.
"
    )
}
