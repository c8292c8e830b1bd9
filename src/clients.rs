// SPDX-License-Identifier: GPL-2.0-only
//! What the scheduler's clients talk to: the control socket, and the statistics.

use std::os::unix::net::UnixListener;
use std::sync::mpsc::Sender;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use log::{error, warn};
use scx_stats::prelude::StatsServer;
use scx_vmland::threads;
use vmland_base::exit;
use vmland_control::client::DIRECTORY;
use vmland_control::server::Server;
use vmland_control::socket::{BindError, Socket};
use vmland_settings::EffectiveSettings;

use crate::{Exit, metrics, settings, vms};

const POLL: Duration = Duration::from_millis(10);

/// They are served for as long as this is kept.
pub struct Clients {
    /// Where to send the maps that settings are written to.
    pub settings: Sender<vms::Maps>,
    _stats: StatsServer<(), ()>,
    /// With it goes the lock on its directory.
    _socket: Option<Socket>,
}

impl Clients {
    /// To be called before attaching, since it starts threads. If another scx_vmland still
    /// has the socket, its end is waited for as long as `patience`.
    pub fn serve(
        now: EffectiveSettings,
        maps: metrics::SharedMaps,
        patience: Duration,
    ) -> Result<Self> {
        let (socket, server) = match bind(patience) {
            Ok((socket, listener)) => (Some(socket), Server::new(listener)?),
            Err(e @ BindError::Locked(_)) => {
                error!("{e}");
                return Err(Exit(exit::TEMPFAIL).into());
            }
            Err(e) => {
                warn!("there is no control socket: {e}");
                (None, Server::default())
            }
        };
        Ok(Self {
            settings: settings::follow(now, server)?,
            _stats: serve_stats(maps)?,
            _socket: socket,
        })
    }
}

/// From a thread without capabilities, which those of the server inherit.
fn serve_stats(maps: metrics::SharedMaps) -> Result<StatsServer<(), ()>> {
    let serve = || {
        threads::give_up_capabilities("statistics");
        metrics::serve(maps)
    };
    let served = scope(|scope| scope.spawn(serve).join());
    served.unwrap_or_else(|_| bail!("statistics cannot be served"))
}

fn bind(patience: Duration) -> Result<(Socket, UnixListener), BindError> {
    let end = Instant::now() + patience;
    loop {
        match Socket::bind(DIRECTORY.as_ref()) {
            Err(BindError::Locked(_)) if Instant::now() < end => sleep(POLL),
            bound => return bound,
        }
    }
}
