//! The JSON pointers a source looks up, as one tree: a body is walked once, however many they are.
//!
//! RFC 6901. Two pointers may lie on the same way, and one may end where another goes on.

/// A pointer that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// Not RFC 6901.
    #[error("{0:?} is not a JSON pointer: it is empty or begins with `/`, and `~` is written `~0`, `/` is `~1`")]
    Malformed(String),
    /// Too many.
    #[error("more than {} pointers into the body", Pointers::MAX)]
    TooMany,
}

/// A tree of pointers. Each has a slot, its number.
#[derive(Debug, Clone, Default)]
pub struct Pointers {
    root: Node,
    texts: Vec<String>,
}

/// A place in a document.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// The pointer that ends here.
    pub slot: Option<usize>,
    /// What lies below: member names; those that are numbers are also places in an array.
    pub below: Vec<(String, Node)>,
}

impl Pointers {
    /// Most pointers of one source. A walk marks what it has seen in 64 bits.
    pub const MAX: usize = 64;

    /// Adds a pointer and gives its slot; the same pointer has the same slot.
    pub fn add(&mut self, pointer: &str) -> Result<usize, PointerError> {
        if let Some(slot) = self.texts.iter().position(|text| text == pointer) {
            return Ok(slot);
        }
        if self.texts.len() == Self::MAX {
            return Err(PointerError::TooMany);
        }
        let slot = self.texts.len();
        let mut node = &mut self.root;
        for token in tokens(pointer)? {
            let at = match node.below.iter().position(|(name, _)| *name == token) {
                Some(at) => at,
                None => {
                    node.below.push((token, Node::default()));
                    node.below.len() - 1
                }
            };
            let Some((_, next)) = node.below.get_mut(at) else { return Err(PointerError::TooMany) };
            node = next;
        }
        node.slot = Some(slot);
        self.texts.push(pointer.to_owned());
        Ok(slot)
    }

    /// The top of a document.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

impl Node {
    /// The number of the member of that name among `below`.
    pub fn member(&self, name: &str) -> Option<usize> {
        self.below.iter().position(|(known, _)| known == name)
    }

    /// The node below an array's element.
    pub fn element(&self, index: usize) -> Option<&Node> {
        let is_index = |name: &str| is_canonical_index(name) && name.parse() == Ok(index);
        self.below.iter().find(|(name, _)| is_index(name)).map(|(_, node)| node)
    }

    /// The slots of this node and of everything below it.
    pub fn slots(&self, visit: &mut impl FnMut(usize)) {
        if let Some(slot) = self.slot {
            visit(slot);
        }
        for (_, node) in &self.below {
            node.slots(visit);
        }
    }
}

fn is_canonical_index(name: &str) -> bool {
    name == "0" || (!name.starts_with('0') && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()))
}

fn tokens(pointer: &str) -> Result<Vec<String>, PointerError> {
    let error = || PointerError::Malformed(pointer.to_owned());
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let rest = pointer.strip_prefix('/').ok_or_else(error)?;
    rest.split('/').map(|token| unescape(token).ok_or_else(error)).collect()
}

fn unescape(token: &str) -> Option<String> {
    let mut out = String::with_capacity(token.len());
    let mut characters = token.chars();
    while let Some(character) = characters.next() {
        out.push(match character {
            '~' => match characters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_pointer_has_one_slot_and_ways_are_shared() {
        let mut pointers = Pointers::default();
        assert_eq!(pointers.add("/data/object/id"), Ok(0));
        assert_eq!(pointers.add("/data/object"), Ok(1));
        assert_eq!(pointers.add("/data/object/id"), Ok(0));
        assert_eq!(pointers.len(), 2);
        assert_eq!(pointers.root().below.len(), 1);
        let mut slots = Vec::new();
        pointers.root().slots(&mut |slot| slots.push(slot));
        assert_eq!(slots, [1, 0]);
    }

    #[test]
    fn escapes_of_rfc_6901_are_read() {
        assert_eq!(tokens("/a~1b/m~0n//0"), Ok(["a/b", "m~n", "", "0"].map(str::to_owned).to_vec()));
        assert_eq!(tokens(""), Ok(Vec::new()));
        for wrong in ["a", "a/b", "/~", "/~2", "/a~"] {
            assert!(tokens(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_a_canonical_number_is_a_place_in_an_array() {
        let mut pointers = Pointers::default();
        pointers.add("/0/id").expect("a pointer");
        pointers.add("/01").expect("a pointer");
        assert!(pointers.root().element(0).is_some());
        assert!(pointers.root().element(1).is_none());
    }

    #[test]
    fn a_source_has_at_most_sixty_four_pointers() {
        let mut pointers = Pointers::default();
        for number in 0..Pointers::MAX {
            assert_eq!(pointers.add(&format!("/{number}")), Ok(number));
        }
        assert_eq!(pointers.add("/more"), Err(PointerError::TooMany));
    }
}
