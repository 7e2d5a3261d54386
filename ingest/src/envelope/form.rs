//! A body that is a form with JSON in one of its fields, as GitHub sends it when nobody chose otherwise.
//!
//! The signature covers the form as it came, and that is what is kept; this only looks inside.

/// The Content-Type of a form.
const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// Whether a Content-Type says that the body is a form.
pub fn is_form(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim_matches(' ').eq_ignore_ascii_case(CONTENT_TYPE)
}

/// The decoded value of a field that stands exactly once.
pub fn field(body: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut found = None;
    for pair in body.split(|byte| *byte == b'&') {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let key = halves.next().unwrap_or_default();
        // A name of ours is short: no need to decode a long one.
        if key.len() <= 3 * name.len() && decode(key).as_deref() == Some(name.as_bytes()) {
            let value = decode(halves.next().unwrap_or_default())?;
            if found.replace(value).is_some() {
                return None;
            }
        }
    }
    found
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_and_decoded() {
        let body = b"a=1&payload=%7B%22a+b%22%3A+%22%C3%A9%22%7D&b";
        assert_eq!(field(body, "payload").as_deref(), Some("{\"a b\": \"é\"}".as_bytes()));
        assert_eq!(field(b"p%61yload=x", "payload").as_deref(), Some(b"x".as_slice()));
        assert_eq!(field(b"payload=a=b", "payload").as_deref(), Some(b"a=b".as_slice()));
        for wrong in ["", "payloads=1", "payload=1&payload=1", "payload=%", "payload=%4", "payload=%zz", "{}"] {
            assert_eq!(field(wrong.as_bytes(), "payload"), None, "{wrong}");
        }
    }

    #[test]
    fn only_the_content_type_of_forms_is_one() {
        for yes in [CONTENT_TYPE, "Application/X-WWW-Form-Urlencoded; charset=utf-8"] {
            assert!(is_form(yes), "{yes}");
        }
        for no in ["", "application/json", "multipart/form-data; boundary=x", "text/plain"] {
            assert!(!is_form(no), "{no}");
        }
    }
}
