// SPDX-License-Identifier: GPL-2.0-only
//! The terminal's part: keys in, frames out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{Event, KeyEventKind, poll, read};

use super::app::{App, Then};
use super::order::Order;
use super::screen::draw;
use crate::observe::Source;
use crate::observe::rates::Rates;

/// How soon a signal to end is seen.
const POLL: Duration = Duration::from_millis(200);

static STOPPED: AtomicBool = AtomicBool::new(false);

/// Until the user quits, a signal comes, or there were `count` readings.
pub fn run(order: Order, interval: Duration, count: Option<u64>) -> Result<()> {
    ctrlc::set_handler(|| STOPPED.store(true, Ordering::Relaxed))
        .context("cannot catch signals")?;
    // https://no-color.org: if it is there and not empty.
    let has_colour = std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    let mut terminal = ratatui::try_init()?;
    let done = watch(&mut terminal, order, interval, count, has_colour);
    ratatui::try_restore()?;
    done
}

fn watch(
    terminal: &mut DefaultTerminal,
    order: Order,
    interval: Duration,
    count: Option<u64>,
    has_colour: bool,
) -> Result<()> {
    let mut source = Source::default();
    let mut last = source.read();
    let mut app = App::new(order, Rates::between(&last, &last));
    let mut readings = 0;
    let mut next = Instant::now() + interval;
    while count.is_none_or(|count| readings < count) && !STOPPED.load(Ordering::Relaxed) {
        terminal.draw(|frame| draw(frame, &app, has_colour))?;
        let left = next.saturating_duration_since(Instant::now());
        if poll(left.min(POLL))? {
            if let Event::Key(key) = read()?
                && key.kind == KeyEventKind::Press
                && app.key(key) == Then::Quit
            {
                return Ok(());
            }
        } else if Instant::now() >= next {
            let now = source.read();
            app.update(Rates::between(&last, &now));
            last = now;
            readings += 1;
            next = Instant::now() + interval;
        }
    }
    Ok(())
}
