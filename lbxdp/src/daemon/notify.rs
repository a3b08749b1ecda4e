//! Word to whoever started the daemon that it answers: systemd's protocol for units of `Type=notify` (`sd_notify(3)`).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Says it, if somebody wants to hear it.
pub(super) fn ready() {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = tell(&name) {
        tracing::warn!(socket = %name.display(), %error, "cannot say that the daemon is ready");
    }
}

fn tell(name: &OsStr) -> io::Result<()> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_sockets_are_told() {
        let name = format!("lbxdp-notify-{}", std::process::id());
        let file = std::env::temp_dir().join(&name);
        let _ = std::fs::remove_file(&file);
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (listener, told) in [
            (UnixDatagram::bind(&file).unwrap(), file.clone().into_os_string()),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), format!("@{name}").into()),
        ] {
            tell(&told).unwrap();
            let mut bytes = [0; 16];
            let length = listener.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"READY=1");
        }
        std::fs::remove_file(&file).unwrap();
        assert!(tell(file.as_os_str()).is_err());
    }
}
