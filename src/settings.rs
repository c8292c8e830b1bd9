// SPDX-License-Identifier: GPL-2.0-only
//! Gives each VM the settings that are effective for it.
//!
//! A thread of its own, which waits for nothing but its wakers. It wakes up
//!
//! - when BPF has seen a vCPU, or one is gone ([`VcpuEvents`]): it writes the parameters of
//!   VMs that are new or have more vCPUs where `bpf/params/params.bpf.h` reads them,
//! - when a VM has been identified ([`identify`]), which may change them,
//! - for clients of the control socket, which may change what is effective,
//! - for SIGHUP, and reads the configuration anew; one with an error changes nothing,
//! - every [`BACKSTOP`]; and on a host with several domains more often, for homes of VMs.

use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use log::{error, info, warn};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use scx_vmland::limits::Limits;
use scx_vmland::threads;
use vmland_control::answer;
use vmland_control::server::Server;
use vmland_settings::{Config, Diagnostics, EffectiveSettings, Sources};

use crate::identify::{self, Identifier};
use crate::vcpu_events::{Changed, VcpuEvents};
use crate::vms::{Maps, Vms};

/// For what no event tells: a VM was moved to another cgroup, which may change its settings,
/// or parameters could not be written. It is long because all VMs are identified anew, which
/// takes about 0.1 ms a VM of the threads that do that.
const BACKSTOP: Duration = Duration::from_secs(5);

/// Reads the configuration, and says what it is warned of.
pub fn load(sources: &Sources) -> Result<Config, Diagnostics> {
    let (config, warnings) = Config::load(sources)?;
    for warning in warnings {
        warn!("{warning}");
    }
    Ok(config)
}

fn hangup() -> SigSet {
    [Signal::SIGHUP].into_iter().collect()
}

/// To be called before there is any other thread, for a signal goes to whichever does
/// not block it.
pub fn block_hangups() -> Result<()> {
    Ok(hangup().thread_block()?)
}

/// Starts the thread; it begins when it is sent the maps.
pub fn follow(now: EffectiveSettings, server: Server) -> Result<Sender<Maps>> {
    let hangups = SignalFd::with_flags(&hangup(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("cannot wait for SIGHUP")?;
    let identifier = identify::start().context("cannot identify VMs")?;
    let (sender, maps) = channel();
    threads::start("settings", move || {
        watch(now, server, &hangups, &identifier, &maps);
    });
    Ok(sender)
}

fn watch(
    mut now: EffectiveSettings,
    mut server: Server,
    hangups: &SignalFd,
    identifier: &Identifier,
    maps: &Receiver<Maps>,
) {
    let Ok(maps) = maps.recv() else { return };
    let events = VcpuEvents::new(&maps.vcpu_events)
        .inspect_err(|e| error!("new VMs get their settings late: {e:#}"))
        .ok();
    let changed = || events.as_ref().map_or(Changed::Any, VcpuEvents::take);
    let mut wakers = vec![hangups.as_fd(), identifier.as_fd()];
    wakers.extend(events.as_ref().map(VcpuEvents::as_fd));
    let mut vms = match Vms::new(maps, identifier) {
        Ok(vms) => vms,
        Err(e) => {
            error!("no VM gets its settings: {e:#}");
            return;
        }
    };
    let patience = vms.home_period().unwrap_or(BACKSTOP);
    let mut limits = Limits::default();
    let mut identified = Instant::now();
    loop {
        vms.update(changed());
        if identified.elapsed() >= BACKSTOP {
            vms.update(Changed::Any);
            vms.identify_anew();
            for consequence in limits.reached(|limit| vms.times_reached(limit)) {
                warn!("{consequence}");
            }
            identified = Instant::now();
        }
        if let Ok(Some(_)) = hangups.read_signal() {
            reload(&mut now, &mut vms);
        }
        vms.write_params(&now);
        vms.plan_homes();
        server.turn(&wakers, patience, |line| {
            vms.update(changed());
            let running = vms.running();
            let answered = answer(line, &mut now, &running, &vms);
            if answered.changed {
                vms.write_all_anew();
                vms.write_params(&now);
            }
            answered.line.into_bytes()
        });
    }
}

/// At SIGHUP. The log is told what a client of the socket would be.
fn reload(now: &mut EffectiveSettings, vms: &mut Vms<'_>) {
    let facts: Vec<_> = vms.running().iter().map(|vm| &vm.facts).collect();
    match now.reload(&facts) {
        Ok((changes, warnings)) => {
            for warning in warnings {
                warn!("{warning}");
            }
            let rules = now.configured();
            info!(
                "configuration read anew: {rules} rules, {} changes",
                changes.len()
            );
            vms.write_all_anew();
        }
        Err(errors) => error!("the configuration stays as it was: {errors}"),
    }
}
