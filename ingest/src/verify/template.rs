//! The signed text: a template parsed once, and the pieces it stands for in one request.

use super::SchemeError;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Timestamp,
    Id,
    Body,
}

/// What a scheme signs: `{body}`, `{timestamp}.{body}`, `{id}.{timestamp}.{body}`, ...
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Parses a scheme's `signed`. The body has to be in it: a signature that leaves it out proves nothing.
    pub fn parse(text: &str) -> Result<Self, SchemeError> {
        let error = || SchemeError::Signed(text.to_owned());
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((literal, tail)) = rest.split_once('{') {
            let (name, tail) = tail.split_once('}').ok_or_else(error)?;
            push_literal(&mut pieces, literal);
            pieces.push(match name {
                "timestamp" => Piece::Timestamp,
                "id" => Piece::Id,
                "body" => Piece::Body,
                _ => return Err(error()),
            });
            rest = tail;
        }
        push_literal(&mut pieces, rest);
        let bodies = pieces.iter().filter(|piece| **piece == Piece::Body).count();
        if bodies == 1 && !rest.contains('}') { Ok(Self(pieces)) } else { Err(error()) }
    }

    /// Whether the timestamp is signed.
    pub fn has_timestamp(&self) -> bool {
        self.0.contains(&Piece::Timestamp)
    }

    /// Whether the id is signed.
    pub fn has_id(&self) -> bool {
        self.0.contains(&Piece::Id)
    }

    /// Bytes that no id may hold: what ends it, and what it begins behind when something stands before it whose end
    /// nobody knows. An id with one of them inside could borrow from its neighbour.
    pub fn id_bounds(&self) -> impl Iterator<Item = u8> {
        let at = self.0.iter().position(|piece| *piece == Piece::Id);
        let text = |place: Option<usize>| match place.and_then(|place| self.0.get(place)) {
            Some(Piece::Literal(text)) => text.as_slice(),
            Some(Piece::Timestamp | Piece::Id | Piece::Body) | None => &[],
        };
        let end = text(at.and_then(|at| at.checked_add(1))).first();
        let before = at.filter(|at| *at >= 2).and_then(|at| at.checked_sub(1));
        end.into_iter().chain(text(before).last()).copied()
    }

    /// The signed text of one request, piece by piece.
    pub fn pieces<'a>(&'a self, timestamp: &'a [u8], id: &'a [u8], body: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().map(move |piece| match piece {
            Piece::Literal(text) => text.as_slice(),
            Piece::Timestamp => timestamp,
            Piece::Id => id,
            Piece::Body => body,
        })
    }
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Literal(text.as_bytes().to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Vec<u8> {
        let template = Template::parse(template).expect("a good template");
        template.pieces(b"12", b"msg_1", b"{}").collect::<Vec<_>>().concat()
    }

    #[test]
    fn a_template_is_filled_in_from_the_left() {
        assert_eq!(filled("{body}"), b"{}");
        assert_eq!(filled("v0:{timestamp}:{body}"), b"v0:12:{}");
        assert_eq!(filled("{id}.{timestamp}.{body}"), b"msg_1.12.{}");
        assert_eq!(filled("{body}{timestamp}!"), b"{}12!");
    }

    #[test]
    fn the_id_ends_where_the_template_says() {
        let bounds = |text| Template::parse(text).expect("a good template").id_bounds().collect::<Vec<u8>>();
        assert_eq!(bounds("{id}.{timestamp}.{body}"), b".");
        assert_eq!(bounds("v0:{id}.{body}"), b".", "a text of ours has one end only");
        assert_eq!(bounds("{body}.{id}"), b".");
        assert_eq!(bounds("{timestamp}~:{id}-{body}"), b"-:");
        assert_eq!(bounds("{id}{timestamp}{body}"), b"");
        assert_eq!(bounds("{body}"), b"");
    }

    #[test]
    fn a_template_without_exactly_one_body_is_refused() {
        for wrong in ["", "{timestamp}", "{body}{body}", "{url}{body}", "{body", "body}", "{body}}", "{}{body}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
