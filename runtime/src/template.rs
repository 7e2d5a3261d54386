//! Addresses with expressions in them: `https://api.example.com/customers/{body.customer}?full=1`.
//!
//! The host is always written out. An event can choose what is asked for, never who is asked: each value becomes one
//! segment of the path, or one value of the query, whatever characters it holds.

use crate::expression::Expression;

/// Longest address that is made, bytes.
const ADDRESS_MAX: usize = 8 * 1024;

/// An address to be.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

/// A part of it.
#[derive(Debug, Clone)]
enum Piece {
    /// As it stands.
    Text(String),
    /// To be computed.
    Value(Expression),
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after_it) = braced(after).ok_or("has a { without its }")?;
            pieces.extend((!before.is_empty()).then(|| Piece::Text(before.to_owned())));
            let value = Expression::compile(inside).map_err(|message| format!("{{{inside}}} {message}"))?;
            pieces.push(Piece::Value(value));
            rest = after_it;
        }
        pieces.extend((!rest.is_empty()).then(|| Piece::Text(rest.to_owned())));
        let template = Self { text: text.to_owned(), pieces };
        template.check()?;
        Ok(template)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its expressions, in order.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> + Clone {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Value(expression) => Some(expression),
        })
    }

    /// The address with these values in it.
    pub fn fill(&self, mut value: impl FnMut(&Expression) -> Result<String, String>) -> Result<String, String> {
        let mut address = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => address.push_str(text),
                Piece::Value(expression) => {
                    let value = value(expression)?;
                    if value.is_empty() {
                        return Err(format!("{{{}}} is empty", expression.text()));
                    }
                    push_encoded(&value, &mut address);
                }
            }
        }
        if address.len() > ADDRESS_MAX {
            return Err(format!("the address has {} bytes: at most {ADDRESS_MAX} are allowed", address.len()));
        }
        // Clients walk up at `..`, encoded or not: an id must not lead to another resource.
        let path = address.split(['?', '#']).next().unwrap_or_default();
        if path.split('/').any(is_dots) {
            return Err("the address has `.` or `..` as a segment of its path".to_owned());
        }
        Ok(address)
    }

    fn check(&self) -> Result<(), String> {
        let Some(Piece::Text(first)) = self.pieces.first() else {
            return Err("begins with http:// or https:// and a host, written out".to_owned());
        };
        let (scheme, after) = first.split_once("://").unwrap_or_default();
        if !matches!(scheme, "http" | "https") {
            return Err("begins with http:// or https:// and a host, written out".to_owned());
        }
        let host = after.split(['/', '?']).next().unwrap_or_default();
        let is_whole = host.len() < after.len() || self.pieces.len() == 1;
        if !is_whole {
            return Err("the host is written out, and a / stands behind it before the first {".to_owned());
        }
        let is_host = !host.is_empty() && !host.contains(|c: char| c == '@' || c == '\\' || c.is_whitespace());
        if !is_host || format!("{scheme}://{host}/").parse::<http::Uri>().is_err() {
            return Err(format!("\"{host}\" is not a host, with an optional port behind it"));
        }
        let texts = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Value(_) => None,
        });
        let is_plain =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'}' | b'\\'));
        if !texts.into_iter().all(is_plain) {
            return Err("holds something that no address may hold: spaces, #, \\ or a } without its {".to_owned());
        }
        self.fill(|_| Ok("x".to_owned())).map(drop)
    }
}

/// The text up to the brace that closes, and what follows it. Braces inside of quotes do not count.
fn braced(text: &str) -> Option<(&str, &str)> {
    let (mut depth, mut quote, mut is_escaped) = (0_usize, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if is_escaped => is_escaped = false,
            (Some(_), '\\') => is_escaped = true,
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some((text.get(..at)?, text.get(at + 1..)?)),
            (None, '}') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

/// Everything but what RFC 3986 calls unreserved is percent-encoded.
fn push_encoded(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            let digits = [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16));
            out.extend(digits.into_iter().flatten().map(|digit| digit.to_ascii_uppercase()));
        }
    }
}

fn is_dots(segment: &str) -> bool {
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    plain == "." || plain == ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, value: &str) -> Result<String, String> {
        Template::parse(template).unwrap_or_else(|error| panic!("{template}: {error}")).fill(|_| Ok(value.to_owned()))
    }

    #[test]
    fn a_value_stays_in_its_place() {
        for (value, expected) in [
            ("42", "42"),
            ("a b/c?d=e&f#g", "a%20b%2Fc%3Fd%3De%26f%23g"),
            ("é%2F", "%C3%A9%252F"),
            ("@evil.example:80", "%40evil.example%3A80"),
            ("...", "..."),
        ] {
            let address = filled("https://api.example.com/v1/{body.id}/x?q={event.id}", value);
            assert_eq!(address, Ok(format!("https://api.example.com/v1/{expected}/x?q={expected}")));
        }
        for value in ["..", ".", ""] {
            assert!(filled("http://a/{body.id}/b", value).is_err(), "{value:?}");
        }
        assert!(filled("http://a/{body.a}{body.b}/c", ".").is_err(), "two dots are made of one and one");
        assert!(filled("http://a/b?x={body.a}", "..").is_ok(), "a query has no segments");
        assert!(filled("http://a/{body.id}", &"x".repeat(9000)).is_err());
    }

    #[test]
    fn braces_inside_of_an_expression_belong_to_it() {
        let template = Template::parse("http://a/{ {'}': body.a}['}'] }/{body.b}").unwrap();
        let expressions: Vec<&str> = template.expressions().map(Expression::text).collect();
        assert_eq!(expressions, [" {'}': body.a}['}'] ", "body.b"]);
        assert_eq!(template.text(), "http://a/{ {'}': body.a}['}'] }/{body.b}");
    }

    #[test]
    fn an_address_that_an_event_could_bend_is_refused() {
        for (text, expected) in [
            ("{body.url}", "begins with http:// or https://"),
            ("ftp://a/{body.id}", "begins with http:// or https://"),
            ("https://{body.host}/x", "the host is written out"),
            ("https://api.{body.region}.example.com/x", "the host is written out"),
            ("https://api.example.com{body.path}", "the host is written out"),
            ("https://user:pw@api.example.com/", "is not a host"),
            ("https:///x", "is not a host"),
            ("https://a:b:c/x", "is not a host"),
            ("https://a/{body.id", "has a { without its }"),
            ("https://a/}", "holds something"),
            ("https://a/x#y", "holds something"),
            ("https://a/x y", "holds something"),
            ("https://a/../{body.id}", "has `.` or `..`"),
            ("https://a/{bdy.id}", "{bdy.id} there is no variable `bdy`"),
            ("https://a/{}", "{} must not be empty"),
        ] {
            let message = Template::parse(text).map(|_| ()).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
