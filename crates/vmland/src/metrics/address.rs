// SPDX-License-Identifier: GPL-2.0-only
//! Where the exporter listens.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Of a Unix socket: its user and group may connect.
const MODE: u32 = 0o660;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if path.starts_with('/') {
            return Ok(Address::Unix(path.into()));
        }
        if let Ok(port) = text.parse() {
            return Ok(Address::Tcp((Ipv4Addr::LOCALHOST, port).into()));
        }
        text.parse().map(Address::Tcp).map_err(|_| {
            "expected a port, such as 9950, an address and a port, such as [::]:9950, or a path, such as /run/vmland.sock"
                .into()
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "http://{address}/metrics"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// Non-blocking. A Unix socket that nobody listens on any more is replaced.
    pub fn listen(&self) -> io::Result<Listener> {
        match self {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(Listener::Tcp(listener))
            }
            Address::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                fs::set_permissions(path, Permissions::from_mode(MODE))?;
                listener.set_nonblocking(true)?;
                Ok(Listener::Unix(listener, path.clone()))
            }
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    let refused = |e: io::Error| e.kind() == ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).is_err_and(refused) {
        return fs::remove_file(path);
    }
    Ok(())
}

pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

pub trait Stream: Read + Write + AsFd {}
impl<T: Read + Write + AsFd> Stream for T {}

impl Listener {
    /// Its port may have been chosen by the kernel.
    pub fn address(&self) -> Address {
        match self {
            Listener::Tcp(listener) => listener
                .local_addr()
                .map_or(Address::Tcp((Ipv4Addr::LOCALHOST, 0).into()), Address::Tcp),
            Listener::Unix(_, path) => Address::Unix(path.clone()),
        }
    }

    /// A client, whose stream does not block.
    pub fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Box::new(stream))
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener, _) => listener.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_they_are_typed() {
        let tcp = |text: &str| Ok(Address::Tcp(text.parse().expect("an address")));
        let unix = |path: &str| Ok(Address::Unix(path.into()));
        assert_eq!("9950".parse(), tcp("127.0.0.1:9950"));
        assert_eq!("0.0.0.0:1".parse(), tcp("0.0.0.0:1"));
        assert_eq!("[::1]:9950".parse(), tcp("[::1]:9950"));
        assert_eq!("/run/x".parse(), unix("/run/x"));
        assert_eq!("unix:/run/x".parse(), unix("/run/x"));
        for text in ["", "host:1", "70000", "run/x", ":9950", "unix:x"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_socket_that_was_left_is_replaced_and_nothing_else() {
        let place = tempfile::tempdir().expect("a directory");
        let address = Address::Unix(place.path().join("metrics"));
        let first = address.listen().expect("free");
        assert!(address.listen().is_err());
        drop(first);
        let _second = address.listen().expect("nobody listens");
        let mode = fs::metadata(place.path().join("metrics")).expect("it is there");
        assert_eq!(mode.permissions().mode() & 0o777, MODE);
        let file = place.path().join("file");
        fs::write(&file, "").expect("written");
        assert!(Address::Unix(file.clone()).listen().is_err() && file.exists());
    }
}
