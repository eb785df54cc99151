//! Pure: a set of hashes that answers "certainly absent" or "perhaps present" from a few bits for
//! each hash (a Bloom filter whose bits for one hash share a cache line).
//!
//! It never answers "absent" for a hash that was inserted. How often it answers "perhaps" for a
//! hash that was not depends on the bits that were planned for each hash: about 1 in 1,000 with 16
//! bits, 1 in 40 with 8, 1 in 4 with 4.

const WORDS: usize = 8;
const BLOCK_BITS: usize = 64 * WORDS;
const BLOCK_BYTES: usize = BLOCK_BITS / 8;
/// Bits set for each hash. Measured: fewer let more pass at 16 bits a hash, more do at 8.
const PROBES: u32 = 6;
/// A number of blocks that is a multiple of this can be halved three times.
const BLOCKS_MULTIPLE: usize = 8;

/// One cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
struct Block([u64; WORDS]);

/// A set of hashes that may answer "perhaps present" for a hash that was not inserted. The store
/// keeps one for each run of older identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// At least one.
    blocks: Box<[Block]>,
}

impl Filter {
    /// An empty filter, planned for so many hashes and so many bits for each.
    #[must_use]
    pub fn new(hashes: usize, bits_each: usize) -> Self {
        let blocks = (hashes * bits_each).div_ceil(BLOCK_BITS).max(1);
        let blocks = blocks.next_multiple_of(BLOCKS_MULTIPLE);
        Self { blocks: vec![Block([0; WORDS]); blocks].into_boxed_slice() }
    }

    /// The hash must be evenly spread over all 64 bits.
    pub fn insert(&mut self, hash: u64) {
        let block = &mut self.blocks[block_of(hash, self.blocks.len())];
        for (word, bit) in probes(hash) {
            block.0[word] |= 1 << bit;
        }
    }

    /// False if the hash was certainly not inserted.
    #[must_use]
    pub fn may_contain(&self, hash: u64) -> bool {
        let block = &self.blocks[block_of(hash, self.blocks.len())];
        // Without a branch for each probe: while this line comes from memory, the processor
        // goes on with the next hash.
        probes(hash).fold(1, |all, (word, bit)| all & (block.0[word] >> bit)) == 1
    }

    /// Halves the filter: it takes half the memory, and answers "perhaps" for more hashes.
    /// False, and unchanged, if it cannot be halved again.
    pub fn fold(&mut self) -> bool {
        if !self.blocks.len().is_multiple_of(2) {
            return false;
        }
        // With half the blocks, `block_of` gives half the number.
        let pair = |pair: &[Block]| Block(std::array::from_fn(|n| pair[0].0[n] | pair[1].0[n]));
        self.blocks = self.blocks.chunks_exact(2).map(pair).collect();
        true
    }

    /// The bytes of memory that the filter takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    /// The filter as bytes, for [`Self::from_bytes`]. The format is the same on all machines.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let words = self.blocks.iter().flat_map(|block| block.0);
        words.flat_map(u64::to_be_bytes).collect()
    }

    /// Reads the bytes of [`Self::to_bytes`]. None if their length is not that of a filter.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        let block = |bytes: &[u8; BLOCK_BYTES]| {
            let (words, _) = bytes.as_chunks::<8>();
            Block(std::array::from_fn(|n| u64::from_be_bytes(words[n])))
        };
        let whole = rest.is_empty() && !blocks.is_empty();
        whole.then(|| Self { blocks: blocks.iter().map(block).collect() })
    }
}

/// The number of the hash's block, from the hash's upper bits.
fn block_of(hash: u64, blocks: usize) -> usize {
    let product = u128::from(hash) * blocks as u128;
    usize::try_from(product >> 64).expect("smaller than the number of blocks")
}

/// The word and the bit of each probe, from bits that do not depend on the number of the block.
fn probes(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(MIX);
    let mixed = mixed ^ (mixed >> 29);
    (0..PROBES).map(move |n| {
        let bits = mixed >> (9 * n);
        ((bits >> 6) as usize % WORDS, bits % 64)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hashes that are spread evenly, from small numbers.
    fn spread(number: u64) -> u64 {
        let mut hash = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        hash ^ (hash >> 31)
    }

    proptest! {
        #[test]
        fn what_was_inserted_passes_also_when_folded_and_stored(
            numbers in prop::collection::vec(any::<u64>(), 1..300),
            planned in 1..300_usize,
            folds in 0..5_usize,
        ) {
            let mut filter = Filter::new(planned, 16);
            numbers.iter().for_each(|number| filter.insert(spread(*number)));
            for _ in 0..folds {
                let before = filter.bytes();
                let folded = filter.fold();
                prop_assert_eq!(filter.bytes(), if folded { before / 2 } else { before });
            }
            prop_assert!(numbers.iter().all(|number| filter.may_contain(spread(*number))));
            let stored = Filter::from_bytes(&filter.to_bytes()).unwrap();
            prop_assert_eq!(stored, filter);
        }
    }

    /// Also when it was folded, against one that was made as small.
    #[test]
    fn few_pass_that_are_not_there() {
        const COUNT: u64 = 100_000;
        let asked = usize::try_from(10 * COUNT).unwrap();
        let mut filter = Filter::new(asked / 10, 16);
        (0..COUNT).for_each(|n| filter.insert(spread(n)));
        for in_ten_thousand in [15, 300, 2_800] {
            let passed = (COUNT..11 * COUNT).filter(|n| filter.may_contain(spread(*n))).count();
            let max = asked / 10_000 * in_ten_thousand;
            assert!(passed < max, "{passed} of {asked} passed");
            assert!(filter.fold());
        }
    }

    #[test]
    fn bytes_that_are_no_filter_are_refused() {
        assert_eq!(Filter::from_bytes(&[]), None);
        assert_eq!(Filter::from_bytes(&[0; 63]), None);
        assert!(Filter::from_bytes(&[0; 64]).is_some());
    }
}
