//! A filter in memory that knows for sure when a store has never heard of a key.
//!
//! Nearly every event is new, and asking RocksDB whether it is costs more than everything else that is decided
//! about it, in each bucket of the window anew. One look here, at one cache line, answers for all of them.
//! A blocked Bloom filter: 512 bits a block, six of them a key; at its capacity one key in a hundred is let through
//! to the store for nothing.

/// Bits a key sets.
const PROBES: u32 = 6;
/// Keys a block is meant for: 10.7 bits each.
const KEYS_PER_BLOCK: usize = 48;
/// Bytes of a block.
const BLOCK_BYTES: usize = 64;
/// Blocks that are kept under one key.
const BLOCKS_PER_ROW: usize = 1024;

/// What a store may know.
#[derive(Debug)]
pub struct Filter {
    blocks: Vec<[u64; 8]>,
    keys: usize,
}

impl Filter {
    /// An empty filter for about so many keys.
    pub fn for_keys(keys: usize) -> Self {
        Self { blocks: vec![[0; 8]; keys / KEYS_PER_BLOCK + 1], keys: 0 }
    }

    /// Whether more keys were noted than it was made for. It still answers, less often with "never".
    pub fn is_full(&self) -> bool {
        self.keys > self.blocks.len() * KEYS_PER_BLOCK
    }

    /// Keys that were noted, those that told it nothing new left out.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Notes a key: sixteen bytes that are a hash already. One that is noted again counts once: resources come again
    /// and again, and must not fill it.
    pub fn note(&mut self, hash: u128) {
        let at = self.block_of(hash);
        if let Some(block) = self.blocks.get_mut(at) {
            let mut is_new = false;
            for (word, bit) in bits(hash) {
                is_new |= block[word] & bit == 0;
                block[word] |= bit;
            }
            self.keys += usize::from(is_new);
        }
    }

    /// `false`: the key was never noted.
    pub fn may_know(&self, hash: u128) -> bool {
        let block = self.blocks.get(self.block_of(hash));
        block.is_none_or(|block| bits(hash).all(|(word, bit)| block[word] & bit != 0))
    }

    /// All of it, in pieces of 64 KiB: first how many keys were noted, and how many blocks follow.
    pub fn rows(&self) -> impl Iterator<Item = Vec<u8>> {
        let counts = [self.keys as u64, self.blocks.len() as u64].map(u64::to_be_bytes).concat();
        let rows = self.blocks.chunks(BLOCKS_PER_ROW);
        let row = |blocks: &[[u64; 8]]| blocks.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
        std::iter::once(counts).chain(rows.map(row))
    }

    /// What [`Self::rows`] gave, if nothing of it is missing.
    pub fn from_rows<'a>(mut rows: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let (keys, blocks) = rows.next()?.split_first_chunk::<8>()?;
        let counts = [keys, blocks.first_chunk::<8>()?].map(|count| u64::from_be_bytes(*count) as usize);
        let [keys, count] = counts;
        let mut blocks = Vec::new();
        for row in rows {
            let (whole, rest) = row.as_chunks::<BLOCK_BYTES>();
            if !rest.is_empty() {
                return None;
            }
            blocks.extend(whole.iter().map(block));
        }
        (blocks.len() == count && count > 0).then_some(Self { blocks, keys })
    }

    fn block_of(&self, hash: u128) -> usize {
        // Scales the upper half to the number of blocks; the bits come from the lower half.
        let high = hash >> 64;
        ((high * self.blocks.len() as u128) >> 64) as usize
    }
}

fn block(bytes: &[u8; BLOCK_BYTES]) -> [u64; 8] {
    let (words, _) = bytes.as_chunks::<8>();
    let mut block = [0; 8];
    for (to, from) in block.iter_mut().zip(words) {
        *to = u64::from_le_bytes(*from);
    }
    block
}

fn bits(hash: u128) -> impl Iterator<Item = (usize, u64)> {
    let low = hash as u64;
    (0..PROBES).map(move |probe| {
        let nine = low >> (9 * probe);
        ((nine & 7) as usize, 1_u64 << ((nine >> 3) & 63))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u128 {
        let hash = schemas::identity::event_hash("s", &number.to_be_bytes());
        u128::from_le_bytes(hash.0)
    }

    #[test]
    fn what_was_noted_is_never_denied_and_the_rest_nearly_always() {
        let keys = 100_000;
        let mut filter = Filter::for_keys(keys as usize);
        (0..keys).for_each(|number| filter.note(hash(number)));
        assert!((0..keys).all(|number| filter.may_know(hash(number))));
        let wrong = (keys..2 * keys).filter(|number| filter.may_know(hash(*number))).count();
        assert!(wrong < keys as usize / 50, "{wrong} of {keys}");
        let counted = filter.keys();
        assert!(counted > keys as usize * 98 / 100 && counted <= keys as usize, "{counted} of {keys}");
        (0..keys).for_each(|number| filter.note(hash(number)));
        assert_eq!(filter.keys(), counted, "none of them is new");
        assert!(!filter.is_full());
        (keys..2 * keys).for_each(|number| filter.note(hash(number)));
        assert!(filter.is_full());
    }

    #[test]
    fn a_filter_comes_back_from_its_rows_and_not_from_some_of_them() {
        let mut filter = Filter::for_keys(100_000);
        (0..100_000).for_each(|number| filter.note(hash(number)));
        let rows: Vec<_> = filter.rows().collect();
        assert_eq!(rows.len(), 1 + filter.blocks.len().div_ceil(BLOCKS_PER_ROW));
        let back = |rows: &[Vec<u8>]| Filter::from_rows(rows.iter().map(Vec::as_slice));
        let whole = back(&rows).expect("all rows");
        assert_eq!((whole.keys, &whole.blocks), (filter.keys, &filter.blocks));
        for missing in 1..=rows.len() {
            assert!(back(&rows[..rows.len() - missing]).is_none(), "without the last {missing}");
        }
        let mut short = rows.clone();
        short.last_mut().expect("a row").pop();
        assert!(back(&short).is_none());
    }
}
