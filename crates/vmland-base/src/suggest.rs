// SPDX-License-Identifier: GPL-2.0-only
//! What was probably meant by a word that is none of the known ones.

/// The nearest of `known`, if it is near: one slip in three characters, where a
/// slip is a letter more, less, wrong or swapped with its neighbour.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let allowed = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|known| {
            let slips = strsim::damerau_levenshtein(&word, &known.replace('-', "_"));
            (slips, known)
        })
        .filter(|(slips, _)| *slips <= allowed)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, known)| known)
}

/// "a, b or c", each in quotes.
pub fn either<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    list(words, "or")
}

/// "a, b and c", each in quotes.
pub fn all_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    list(words, "and")
}

fn list<'a>(words: impl IntoIterator<Item = &'a str>, joint: &str) -> String {
    let words: Vec<_> = words.into_iter().map(|word| format!("{word:?}")).collect();
    match &words[..] {
        [] => String::new(),
        [word] => word.clone(),
        [words @ .., last] => format!("{} {joint} {last}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_and_far() {
        let known = ["weight", "slice", "slice_min", "low"];
        let nearest = |word| nearest(word, known);
        assert_eq!(nearest("wieght"), Some("weight"));
        assert_eq!(nearest("Weight"), Some("weight"));
        assert_eq!(nearest("slice-min"), Some("slice_min"));
        assert_eq!(nearest("slices"), Some("slice"));
        assert_eq!(nearest("lov"), Some("low"));
        assert_eq!(nearest("colour"), None);
        assert_eq!(nearest(""), None);
        assert_eq!(nearest(&"weight".repeat(1000)), None);
    }

    #[test]
    fn lists() {
        assert_eq!(either(["a"]), "\"a\"");
        assert_eq!(either(["a", "b"]), "\"a\" or \"b\"");
        assert_eq!(all_of(["a", "b", "c"]), "\"a\", \"b\" and \"c\"");
    }
}
