//! JSON laid out anew: only the white space between tokens changes. Numbers, escapes, the order of keys and keys
//! that stand twice stay as they are, which no parsed value would keep.
//!
//! Pure, and for text that is known to be JSON; of other text it makes some text.

/// Spaces of one level.
const INDENT: usize = 2;

/// One value a line.
pub fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth: usize = 0;
    let mut tokens = Tokens(json).peekable();
    while let Some(token) = tokens.next() {
        match token {
            "{" | "[" => {
                out.push_str(token);
                // An empty object or list stays on its line.
                if tokens.peek().is_none_or(|next| !matches!(*next, "}" | "]")) {
                    depth += 1;
                    new_line(depth, &mut out);
                } else {
                    out.push_str(tokens.next().unwrap_or_default());
                }
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                new_line(depth, &mut out);
                out.push_str(token);
            }
            "," => {
                out.push_str(token);
                new_line(depth, &mut out);
            }
            ":" => out.push_str(": "),
            other => out.push_str(other),
        }
    }
    out.push('\n');
    out
}

/// Everything on one line, without a space.
pub fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    out.extend(Tokens(json));
    out
}

fn new_line(depth: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', depth * INDENT));
}

/// Brackets, commas, colons, strings with their quotes, and whatever else stands between white space.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start_matches([' ', '\t', '\n', '\r']);
        let length = match text.bytes().next()? {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            b'"' => string_length(text),
            _ => text.find(|c: char| " \t\n\r{}[],:\"".contains(c)).unwrap_or(text.len()),
        };
        let (token, rest) = text.split_at_checked(length)?;
        self.0 = rest;
        Some(token)
    }
}

/// The length of the string at the beginning, with both quotes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIGHT: &str = r#"{"b":1.50e3,"a":[1,{},[]],"b":"x \" {,}: ü\u00e9","n":null}"#;
    const WIDE: &str = "{\n  \"b\": 1.50e3,\n  \"a\": [\n    1,\n    {},\n    []\n  ],\n  \
                        \"b\": \"x \\\" {,}: ü\\u00e9\",\n  \"n\": null\n}\n";

    #[test]
    fn only_white_space_changes() {
        assert_eq!(pretty(TIGHT), WIDE);
        assert_eq!(compact(WIDE), TIGHT);
        assert_eq!(pretty(WIDE), WIDE);
        assert_eq!(compact(TIGHT), TIGHT);
    }

    #[test]
    fn single_values_are_json_too() {
        for value in ["1", "\"a\"", "null", "[]", "{}"] {
            assert_eq!((pretty(value).as_str(), compact(value).as_str()), (format!("{value}\n").as_str(), value));
        }
    }

    #[test]
    fn text_that_is_no_json_ends_too() {
        for text in ["", "\"open", "}}}}", "{\"a", "a b", "\\"] {
            let (pretty, compact) = (pretty(text), compact(text));
            assert!(pretty.len() <= text.len() * 4 + 1 && compact.len() <= text.len(), "{text}");
        }
    }
}
