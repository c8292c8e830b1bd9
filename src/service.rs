// SPDX-License-Identifier: GPL-2.0-only
//! Tells the service manager that the scheduler has attached, and that its loop goes on
//! (sd_notify(3)). Outside of a service there is nobody to tell.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::{Duration, Instant};

/// The service manager, when there is one.
#[derive(Default)]
pub struct Manager(Option<Link>);

struct Link {
    socket: UnixDatagram,
    /// How often it wants to hear of the loop, if it does.
    patience: Option<Duration>,
    told: Instant,
}

impl Manager {
    /// The one that started this process. To be called before attaching, since it opens a file.
    pub fn of_process() -> io::Result<Self> {
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let ours = u64::from(process::id());
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == ours);
        let patience = number("WATCHDOG_USEC").filter(|_| is_ours);
        match env::var_os("NOTIFY_SOCKET") {
            Some(address) => Self::at(&address, patience.map(Duration::from_micros)),
            None => Ok(Self::default()),
        }
    }

    fn at(address: &OsStr, patience: Option<Duration>) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        Ok(Self(Some(Link {
            socket,
            patience,
            told: Instant::now(),
        })))
    }

    /// The scheduler has attached. From now on nothing waits for the manager.
    pub fn ready(&self) -> io::Result<()> {
        let Some(link) = &self.0 else { return Ok(()) };
        link.socket.send(b"READY=1")?;
        link.socket.set_nonblocking(true)
    }

    /// The loop goes on. Says so three times in the manager's patience; a message that is lost
    /// is followed by another one in time.
    pub fn alive(&mut self) {
        let Some(link) = &mut self.0 else { return };
        let is_due = |patience: Duration| link.told.elapsed() >= patience / 3;
        if link.patience.is_some_and(is_due) {
            let _ = link.socket.send(b"WATCHDOG=1");
            link.told = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    fn heard(by: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 64];
        let count = by.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }

    #[test]
    fn a_manager_hears_of_the_start_and_then_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("vmland-test-{}", process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&abstract_name).unwrap();

        let patience = Duration::from_millis(30);
        for (address, socket) in [
            (path.as_os_str(), by_path),
            (format!("@{name}").as_ref(), by_name),
        ] {
            socket.set_nonblocking(true).unwrap();
            let mut manager = Manager::at(address, Some(patience)).unwrap();
            manager.ready().unwrap();
            assert_eq!(heard(&socket).as_deref(), Some("READY=1"));
            sleep(patience / 3);
            manager.alive();
            manager.alive();
            assert_eq!(heard(&socket).as_deref(), Some("WATCHDOG=1"));

            // One that hears nothing holds nobody up.
            for _ in 0..1_000 {
                manager.0.as_mut().unwrap().told -= patience;
                manager.alive();
            }
        }
    }

    #[test]
    fn without_a_watchdog_only_the_start_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut manager = Manager::at(path.as_os_str(), None).unwrap();
        manager.ready().unwrap();
        manager.alive();
        assert_eq!(heard(&socket).as_deref(), Some("READY=1"));
        assert_eq!(heard(&socket), None);
        Manager::default().ready().unwrap();
    }
}
