//! A fast 64-bit checksum of weights and features: for accidents, not for attackers.

const PRIME: u64 = 0x9e37_79b1_85eb_ca87;

/// The checksum of some numbers, by their bits: -0.0 and 0.0 differ, equal NaNs do not.
pub fn checksum(values: &[f32]) -> u64 {
    checksum_words(bytemuck::cast_slice(values))
}

/// The checksum of some 32-bit words.
///
/// Four lanes, each a multiply and rotate a number (the rounds of xxHash64 on 32-bit words), so that it runs
/// at memory speed; every number moves the result.
pub fn checksum_words(words: &[u32]) -> u64 {
    let mut lanes = [PRIME, !PRIME, PRIME.rotate_left(21), PRIME.rotate_left(42)];
    let mut round = |lane: usize, word: u32| {
        let mixed = lanes[lane].wrapping_add(u64::from(word).wrapping_mul(PRIME));
        lanes[lane] = mixed.rotate_left(31).wrapping_mul(PRIME);
    };
    let mut fours = words.chunks_exact(4);
    for four in &mut fours {
        for (lane, word) in four.iter().enumerate() {
            round(lane, *word);
        }
    }
    for (lane, word) in fours.remainder().iter().enumerate() {
        round(lane, *word);
    }
    let mut sum = words.len() as u64;
    for lane in lanes {
        sum = (sum ^ lane).rotate_left(27).wrapping_mul(PRIME);
    }
    sum ^ (sum >> 29)
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn every_number_and_place_counts() {
        let values: Vec<f32> = (0..103).map(|i| i as f32 * 0.37 - 5.0).collect();
        let whole = checksum(&values);
        assert_eq!(whole, checksum(&values.clone()));
        for place in 0..values.len() {
            let mut changed = values.clone();
            changed[place] = f32::from_bits(changed[place].to_bits() ^ 1);
            assert_ne!(whole, checksum(&changed), "bit 0 of number {place}");
            let mut swapped = values.clone();
            swapped.swap(place, (place + 4) % values.len());
            assert_ne!(
                whole,
                checksum(&swapped),
                "numbers {place} and the fourth after it"
            );
        }
        assert_ne!(checksum(&[0.0]), checksum(&[-0.0]));
        assert_ne!(checksum(&[]), checksum(&[0.0]));
    }
}
