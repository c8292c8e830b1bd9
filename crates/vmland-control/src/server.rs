// SPDX-License-Identifier: GPL-2.0-only
//! Clients, however they behave.
//!
//! One thread serves them all, in turns: nobody is waited for. A client has one request
//! at a time; the next is not read before the answer to the last has left, so that who
//! never reads holds one answer and no more. Who has sent no whole request for
//! [`IDLE`] goes, and if there are [`CLIENTS_MAX`], the one that has sent none for longest
//! makes room for the next. Drip-fed or half lines do not count.

use std::io::{ErrorKind as IoError, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use super::answer::Answered;
use super::line::{LINE_MAX, told};
use super::refused::{ErrorKind, Refused};

/// Most clients at a time.
pub const CLIENTS_MAX: usize = 8;

/// How long a client may take for a request.
pub const IDLE: Duration = Duration::from_secs(10);

/// How much of a client is read at a time, in bytes.
const CHUNK: usize = 4096;

/// Who is served, and on which socket.
#[derive(Default)]
pub struct Server {
    listener: Option<UnixListener>,
    clients: Vec<Client>,
}

struct Client {
    stream: UnixStream,
    /// Received and not yet understood: at most a line and a chunk.
    input: Vec<u8>,
    /// Of the answer, what has not left.
    output: Vec<u8>,
    /// When it connected, or its last request came.
    since: Instant,
    /// Nothing more is read of it: it goes when its answer has left.
    is_leaving: bool,
    is_gone: bool,
}

impl Server {
    pub fn new(listener: UnixListener) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener: Some(listener),
            clients: vec![],
        })
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Takes in a client that has connected, if it may ask.
    pub fn admit(&mut self, stream: UnixStream) {
        let Ok(mut client) = Client::new(stream) else {
            return;
        };
        if !client.may_ask() {
            let text = "only root may ask";
            let refused = Refused::new(ErrorKind::Forbidden, text);
            client.leave_with(&Answered::refused(&refused));
        }
        if self.clients.len() == CLIENTS_MAX {
            let oldest = (0..CLIENTS_MAX).min_by_key(|i| self.clients[*i].since);
            self.clients.swap_remove(oldest.unwrap_or_default());
        }
        self.clients.push(client);
    }

    /// Waits until a client has sent something, one of `wakers` can be read, or for `timeout`, and
    /// serves each client once.
    pub fn turn(
        &mut self,
        wakers: &[BorrowedFd<'_>],
        timeout: Duration,
        mut answer: impl FnMut(&[u8]) -> Vec<u8>,
    ) {
        self.wait(wakers, timeout);
        self.accept();
        let now = Instant::now();
        for client in &mut self.clients {
            client.serve(now, &mut answer);
        }
        self.clients
            .retain(|client| !client.is_gone && now.duration_since(client.since) < IDLE);
    }

    fn wait(&self, wakers: &[BorrowedFd<'_>], timeout: Duration) {
        if self.clients.iter().any(Client::has_line) {
            return;
        }
        let listener = self.listener.iter().map(|listener| listener.as_fd());
        let mut fds: Vec<_> = listener
            .chain(wakers.iter().copied())
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        for client in &self.clients {
            let flags = if client.output.is_empty() {
                PollFlags::POLLIN
            } else {
                PollFlags::POLLOUT
            };
            fds.push(PollFd::new(client.stream.as_fd(), flags));
        }
        let left = |client: &Client| IDLE.saturating_sub(client.since.elapsed());
        let timeout = { self.clients.iter() }
            .map(left)
            .fold(timeout, Duration::min);
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        // A signal is as good as a time-out.
        let _ = poll(&mut fds, timeout);
    }

    /// As many as there may be; the others wait for the next turn.
    fn accept(&mut self) {
        for _ in 0..CLIENTS_MAX {
            match self.listener.as_ref().map(UnixListener::accept) {
                Some(Ok((stream, _))) => self.admit(stream),
                Some(Err(e)) if e.kind() != IoError::WouldBlock => {
                    // Too many open files, say: the socket stays ready, and so would poll().
                    std::thread::sleep(Duration::from_millis(50));
                    return;
                }
                _ => return,
            }
        }
    }
}

impl Client {
    fn new(stream: UnixStream) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            input: vec![],
            output: vec![],
            since: Instant::now(),
            is_leaving: false,
            is_gone: false,
        })
    }

    /// Root, or the user that the scheduler runs as.
    fn may_ask(&self) -> bool {
        let peer = getsockopt(&self.stream, PeerCredentials);
        peer.is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
    }

    fn has_line(&self) -> bool {
        self.output.is_empty() && self.input.contains(&b'\n')
    }

    /// At most one request.
    fn serve(&mut self, now: Instant, answer: &mut impl FnMut(&[u8]) -> Vec<u8>) {
        self.write();
        if !self.output.is_empty() || self.is_gone {
            return;
        }
        if !self.has_line() && !self.is_leaving {
            self.read();
        }
        if let Some(line) = self.take_line() {
            self.since = now;
            self.output = answer(&line);
            self.output.push(b'\n');
        } else if self.input.len() > LINE_MAX {
            let text = format!("a line is at most {LINE_MAX} bytes long");
            let refused = Refused::new(ErrorKind::Malformed, told(&text));
            self.leave_with(&Answered::refused(&refused));
        }
        self.write();
    }

    fn leave_with(&mut self, answered: &Answered) {
        self.output = answered.line.clone().into_bytes();
        self.output.push(b'\n');
        self.input = vec![];
        self.is_leaving = true;
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = self.input.iter().position(|byte| *byte == b'\n')?;
        if end > LINE_MAX {
            return None;
        }
        let rest = self.input.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.input, rest);
        line.pop();
        Some(line)
    }

    fn read(&mut self) {
        let mut chunk = [0; CHUNK];
        match self.stream.read(&mut chunk) {
            // Half a line that is left will never be one.
            Ok(0) => self.is_gone = true,
            Ok(n) => self.input.extend(&chunk[..n]),
            Err(e) => self.is_gone |= !is_for_later(&e),
        }
    }

    fn write(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(n) => drop(self.output.drain(..n)),
                Err(e) => {
                    self.is_gone |= !is_for_later(&e);
                    return;
                }
            }
        }
        self.is_gone |= self.is_leaving;
    }
}

fn is_for_later(e: &std::io::Error) -> bool {
    matches!(e.kind(), IoError::WouldBlock | IoError::Interrupted)
}
