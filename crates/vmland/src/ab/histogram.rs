// SPDX-License-Identifier: GPL-2.0-only
//! Histograms of the kernel's tracing, as it prints them.

/// The lines of a histogram with two keys:
/// `{ common_pid:        812, exit_reason:        119 } hitcount:         55`
pub fn entries(text: &str) -> impl Iterator<Item = ([i64; 2], u64)> {
    text.lines().filter_map(|line| {
        let (keys, values) = line.strip_prefix('{')?.split_once('}')?;
        let mut numbers = keys.split(',').map(|key| {
            let (_, value) = key.split_once(':')?;
            value.trim().parse::<i64>().ok()
        });
        let keys = [numbers.next()??, numbers.next()??];
        let hits = values.trim().strip_prefix("hitcount:")?.trim();
        Some((keys, hits.parse().ok()?))
    })
}
