// SPDX-License-Identifier: GPL-2.0-only
//! Clients, however they behave.
//!
//! One thread serves them all, in turns: nobody is waited for. A connection has one request, at
//! most [`REQUEST_MAX`] bytes long, and [`PATIENCE`] until it has read the response. If there are
//! [`CLIENTS_MAX`], the oldest makes room for the next.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::address::{Listener, Stream};
use super::http::{REQUEST_MAX, response};

/// Most clients at a time: a few scrapers, and some that misbehave.
const CLIENTS_MAX: usize = 8;

/// Prometheus gives up after as long, unless it is told otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much is read at a time, in bytes.
const CHUNK: usize = 4096;

pub struct Server {
    listener: Listener,
    clients: Vec<Client>,
}

struct Client {
    stream: Box<dyn Stream>,
    since: Instant,
    /// At most a request and a chunk.
    input: Vec<u8>,
    /// Of the response, what has not left. None: there is none yet.
    output: Option<Vec<u8>>,
    is_gone: bool,
}

impl Server {
    pub fn new(listener: Listener) -> Self {
        Self {
            listener,
            clients: vec![],
        }
    }

    /// Waits until somebody connects, sends or can take something, and serves each client once.
    pub fn turn(&mut self, mut metrics: impl FnMut() -> String) {
        self.wait();
        self.accept();
        for client in &mut self.clients {
            client.serve(&mut metrics);
        }
        self.clients
            .retain(|client| !client.is_gone && client.since.elapsed() < PATIENCE);
    }

    fn wait(&self) {
        let mut fds = vec![PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        for client in &self.clients {
            let flags = match client.output {
                Some(_) => PollFlags::POLLOUT,
                None => PollFlags::POLLIN,
            };
            fds.push(PollFd::new(client.stream.as_fd(), flags));
        }
        let left = |client: &Client| PATIENCE.saturating_sub(client.since.elapsed());
        let first = self.clients.iter().map(left).min();
        let timeout = first.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        // A signal is as good as a time-out.
        let _ = poll(&mut fds, timeout);
    }

    /// As many as there may be; the others wait for the next turn.
    fn accept(&mut self) {
        for _ in 0..CLIENTS_MAX {
            match self.listener.accept() {
                Ok(stream) => self.admit(stream),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    // Too many open files, say: the socket stays ready, and so would poll().
                    std::thread::sleep(Duration::from_millis(50));
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: Box<dyn Stream>) {
        if self.clients.len() == CLIENTS_MAX {
            // In the order in which they came.
            self.clients.remove(0);
        }
        self.clients.push(Client {
            stream,
            since: Instant::now(),
            input: vec![],
            output: None,
            is_gone: false,
        });
    }
}

impl Client {
    fn serve(&mut self, metrics: &mut impl FnMut() -> String) {
        if self.output.is_none() {
            let has_ended = self.read();
            self.output = response(&self.input, metrics);
            self.is_gone |= has_ended && self.output.is_none();
        }
        self.write();
    }

    /// True if nothing more will come.
    fn read(&mut self) -> bool {
        let mut chunk = [0; CHUNK];
        while self.input.len() < REQUEST_MAX {
            match self.stream.read(&mut chunk) {
                Ok(0) => return true,
                Ok(n) => self.input.extend(&chunk[..n]),
                Err(e) => return !is_for_later(&e),
            }
        }
        false
    }

    fn write(&mut self) {
        let Some(output) = &mut self.output else {
            return;
        };
        while !output.is_empty() {
            match self.stream.write(output) {
                Ok(n) => drop(output.drain(..n)),
                Err(e) => {
                    self.is_gone |= !is_for_later(&e);
                    return;
                }
            }
        }
        self.is_gone = true;
    }
}

fn is_for_later(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
