//! The nearest known word, for the suggestion behind "unknown".

/// Appends the suggestion, when a known word is near enough to be meant.
pub(super) fn hint<'a>(message: String, word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(word, known) {
        Some(near) => format!("{message}; did you mean \"{near}\"?"),
        None => message,
    }
}

/// The known word with the fewest changes, if those are at most a third of it.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let measured = known.into_iter().map(|candidate| (distance(word, candidate), candidate));
    let (changes, best) = measured.min_by_key(|(changes, _)| *changes)?;
    (changes <= best.len().max(3) / 3).then_some(best)
}

/// Insertions, deletions, replacements and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let mut changes = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && *y == a[i - 1] {
                changes = changes.min(before[j - 1] + 1);
            }
            row.push(changes);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_strange_word_finds_none() {
        let known = ["body_limit", "listen", "admin_listen", "wait"];
        let cases = [
            ("body_limt", Some("body_limit")),
            ("bodylimit", Some("body_limit")),
            ("listn", Some("listen")),
            ("admin_listner", Some("admin_listen")),
            ("colour", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(hint("no".to_owned(), "white", known), "no");
        assert_eq!(hint("no".to_owned(), "wiat", known), "no; did you mean \"wait\"?");
    }
}
