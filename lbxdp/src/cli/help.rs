//! The texts of `-v` and `-h`.

/// Exactly ipvsadm's: scripts look at it.
pub(super) const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";

/// What works today; behind the version line.
pub(super) fn help(program: &str) -> String {
    format!("{VERSION}lbxdp, in the language of ipvsadm. Usage:\n  {program} COMMAND [OPTIONS]\n\n{COMMANDS}")
}

const COMMANDS: &str = "Services:
  -A SERVICE [-s SCHEDULER] [-p [S]] [-M MASK] [-o] [-b FLAGS] [--pe sip]
                                    add a service
  -E SERVICE (as -A)                replace all settings of a service
  -D SERVICE                        delete a service with its servers
  -C                                delete all services

Servers of a service:
  -a SERVICE -r SERVER [-g|-i|-m] [TUNNEL] [-w N] [-x N] [-y N]
                                    add a server
  -e SERVICE -r SERVER (as -a)      replace all settings of a server
  -d SERVICE -r SERVER              delete a server

Listings:
  -L, -l [SERVICE] [-n] [--exact] [--nosort]
      [--stats|--rate|--thresholds|--persistent-conn|--tun-info]
                                    list all services, or one; without any command, too
  -L -c [-n]                        list the connections
  -L --timeout                      show the timeouts
  -L --daemon                       show the daemons of synchronization

Other commands:
  -S [-n]                           print all services as commands
  -R                                carry out commands from standard input, one a line
  -Z [SERVICE]                      set the counters of all services, or one, to zero
  --set TCP TCPFIN UDP              set the timeouts in seconds; 0 leaves one as it is
  --start-daemon ROLE [--mcast-interface IF] [--syncid N] [--sync-maxlen N]
      [--mcast-group ADDRESS] [--mcast-port N] [--mcast-ttl N]
                                    start a daemon of synchronization: kept and listed, nothing more yet
  --stop-daemon ROLE [--syncid N]   stop it; ROLE is master or backup
  -h, -v                            this text, the version

SERVICE is -t ADDRESS:PORT (TCP), -u ADDRESS:PORT (UDP), --sctp-service ADDRESS:PORT, or -f MARK (`lbxdp mark --help`),
-f MARK -6 of IPv6 packets. SERVER is ADDRESS[:PORT]. An ADDRESS is IPv4, the name of a host, or IPv6, before a port in
brackets; a PORT is a number or the name of a service; port 0 of a persistent service stands for all.

Options:
  -s, --scheduler NAME   rr wrr lc wlc sed nq fo ovf lblc lblcr dh sh mh twos none; wlc if not given
  -p, --persistent [S]   a client stays at its server for S seconds after its last new connection; 360 if not given
  -M, --netmask MASK     with -p: which bits of a client's address count, of IPv6 how many; all if not given
  -o, --ops              each packet by itself, for UDP and marks
  -b, --sched-flags LIST flag-1, flag-2, flag-3, or the scheduler's own names for them
  --pe sip               kept and listed; clients are told apart by their addresses all the same
  -x, --u-threshold N    with N connections a server gets no new ones; 0, not given: no limit
  -y, --l-threshold N    it gets new ones again below N; 0, not given: below three quarters of -x
  -g, --gatewaying       direct routing, the default
  -i, --ipip             a tunnel; TUNNEL is --tun-type ipip (the default), gre, or gue with --tun-port PORT; with gre and
                         gue one of --tun-nocsum (the default), --tun-csum, with gue also --tun-remcsum
  -m, --masquerading     address translation
  -w, --weight N         0 to 2147483647; 1 if not given, 0 for no new connections
  -n, --numeric          numbers instead of names
  -X, --exact            numbers in full
  --stats, --rate        totals, or what happens in a second
  --thresholds, --persistent-conn
                         thresholds, or how many clients stay at each server
  --tun-info             with the tunnels
  --nosort               in the order of the table

Long forms: --add-service --edit-service --delete-service --clear --add-server --edit-server --delete-server
--list --save --restore --zero --tcp-service --udp-service --real-server --connection --help --version

The environment variable LBXDP_INSTANCE names the instance of the daemon, if not `default`.
";
