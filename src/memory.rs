// SPDX-License-Identifier: GPL-2.0-only
//! The node that most of a VM's memory is on.
//!
//! The kernel is asked where some pages of the process are, which are spread over all that it may
//! write: nearly all of that is the guest's memory, whatever it is made of (anonymous, memfd, huge
//! pages). A cgroup's `memory.numa_stat` has no huge pages, and `/proc/PID/numa_maps` visits every
//! page of the process.

use std::fs;
use std::ptr::null;

/// Pages that are asked for.
const SAMPLES: usize = 256;

/// Fewer pages than that say nothing: the guest has just begun to use its memory.
const LEAST_PRESENT: usize = 16;

const PAGE: usize = 4096;

/// The node of most of the memory of process `pid`. None: on no node is more than half of it, or it
/// cannot be read.
pub fn node_of(pid: i32) -> Option<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    most(&nodes_of(pid, &samples(&maps))?)
}

/// Addresses that are spread evenly over the memory that the process may write.
fn samples(maps: &str) -> Vec<usize> {
    let ranges: Vec<(usize, usize)> = maps.lines().filter_map(writable).collect();
    let pages: usize = ranges.iter().map(|(_, pages)| pages).sum();
    let mut ranges = ranges.into_iter();
    let (mut start, mut left, mut passed) = (0, 0, 0);
    let count = SAMPLES.min(pages);
    let mut addresses = Vec::with_capacity(count);
    for i in 0..count {
        let page = i * pages / count;
        while page >= passed + left {
            passed += left;
            let Some(next) = ranges.next() else {
                return addresses;
            };
            (start, left) = next;
        }
        addresses.push(start + (page - passed) * PAGE);
    }
    addresses
}

/// Start and number of pages of a line such as "7f0000000000-7f0040000000 rw-p 00000000 00:00 0".
fn writable(line: &str) -> Option<(usize, usize)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).ok());
    let pages = end?.checked_sub(start?)? / PAGE;
    rest.starts_with("rw").then_some((start?, pages))
}

/// The node of each page, or a negative error.
fn nodes_of(pid: i32, pages: &[usize]) -> Option<Vec<i32>> {
    let mut nodes = vec![0; pages.len()];
    // SAFETY: the kernel reads as many addresses and writes as many numbers; it does not follow the
    // addresses here, and without target nodes moves nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            pid,
            pages.len(),
            pages.as_ptr(),
            null::<i32>(),
            nodes.as_mut_ptr(),
            0,
        )
    };
    (result == 0).then_some(nodes)
}

/// The node that more than half of the pages that are there are on.
fn most(nodes: &[i32]) -> Option<usize> {
    let mut present: Vec<usize> = { nodes.iter() }
        .filter_map(|&node| usize::try_from(node).ok())
        .collect();
    present.sort_unstable();
    let of_one_node = present.chunk_by(|a, b| a == b).max_by_key(|it| it.len())?;
    let is_most = present.len() >= LEAST_PRESENT && 2 * of_one_node.len() > present.len();
    is_most.then(|| of_one_node[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
        555500000000-555500001000 r-xp 00000000 08:01 1 /usr/bin/vmm\n\
        555500001000-555500003000 rw-p 00000000 08:01 1 /usr/bin/vmm\n\
        7f0000000000-7f0004000000 ---p 00000000 00:00 0\n\
        7f1000000000-7f1000100000 rw-s 00000000 00:01 2 /memfd:pc.ram (deleted)\n";

    #[test]
    fn samples_are_spread_over_what_can_be_written() {
        let samples = samples(MAPS);
        // 258 pages, of which 256 are the guest's.
        assert_eq!(samples.len(), SAMPLES);
        assert_eq!(samples[0], 0x5555_0000_1000);
        let guest = samples.iter().filter(|&&at| at >= 0x7f10_0000_0000);
        assert_eq!(guest.count(), SAMPLES - 2);
        assert!(samples.is_sorted());
        assert!(samples.iter().all(|&at| at < 0x7f10_0010_0000));
    }

    #[test]
    fn a_small_process_is_asked_for_all() {
        assert_eq!(
            super::samples("1000-4000 rw-p 0 00:00 0\n"),
            [0x1000, 0x2000, 0x3000]
        );
        assert!(super::samples("").is_empty());
        assert!(super::samples("zz-1 rw-p\n4000-1000 rw-p 0\n").is_empty());
    }

    #[test]
    fn a_node_is_one_of_more_than_half() {
        let nodes = |of: &[(i32, usize)]| -> Vec<i32> {
            of.iter().flat_map(|&(node, n)| vec![node; n]).collect()
        };
        assert_eq!(most(&nodes(&[(0, 10), (1, 20)])), Some(1));
        assert_eq!(most(&nodes(&[(0, 20), (1, 20)])), None);
        assert_eq!(most(&nodes(&[(0, 10), (1, 11), (2, 9)])), None);
        // Pages that are not there do not count, and too few say nothing.
        assert_eq!(most(&nodes(&[(-libc::ENOENT, 200), (1, 20)])), Some(1));
        assert_eq!(most(&nodes(&[(-libc::ENOENT, 200), (1, 15)])), None);
        assert_eq!(most(&[]), None);
    }

    #[test]
    fn this_process_is_somewhere() {
        // A kernel without NUMA says that it has no such system call.
        if let Some(nodes) = nodes_of(0, &[MAPS.as_ptr().addr() / PAGE * PAGE]) {
            assert!(nodes[0] >= 0 || nodes[0] == -libc::ENOENT, "{nodes:?}");
        }
    }
}
