// SPDX-License-Identifier: GPL-2.0-only
//! The host's nohz_full CPUs, whose tick the kernel can stop while a task runs.

use std::fs;
use std::path::Path;

use vmland_base::cpus;

/// Of `/`, the nohz_full CPUs as the BPF part has them: CPU n is bit n % 64 of word n / 64. None
/// if there are none.
pub fn full_cpus<const WORDS: usize>(root: &Path) -> Option<[u64; WORDS]> {
    // Without such CPUs the kernel has no such file, or it says "(null)".
    let list = fs::read_to_string(root.join("sys/devices/system/cpu/nohz_full")).ok()?;
    let mut words = [0; WORDS];
    for cpu in cpus::parse(&list)? {
        *words.get_mut(cpu / 64)? |= 1 << (cpu % 64);
    }
    (words != [0; WORDS]).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmland_test_tree::Tree;

    fn of(list: &str) -> Option<[u64; 2]> {
        let tree = Tree::new().put("sys/devices/system/cpu/nohz_full", list);
        full_cpus(tree.path())
    }

    #[test]
    fn the_kernels_list() {
        assert_eq!(of("2-3,64\n"), Some([0b1100, 1]));
        assert_eq!(of("(null)\n"), None);
        assert_eq!(of("\n"), None);
        assert_eq!(of("1-200\n"), None, "more than the BPF part has room for");
    }

    #[test]
    fn a_kernel_that_has_none() {
        assert_eq!(full_cpus::<16>(Tree::new().path()), None);
    }
}
