//! How processes share a batch.

/// Which part of each batch this process reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// This process, from 0.
    pub rank: usize,
    /// How many share a batch.
    pub ranks: usize,
}

impl Shard {
    /// One process that reads everything.
    pub const WHOLE: Self = Self { rank: 0, ranks: 1 };

    /// Those of `items` that are this process's, in their order. Each weighs as many tokens as `weights` says, and
    /// processes get as nearly the same weight as can be had by giving the heaviest first, each to who has least: an
    /// update takes as long as the slowest does.
    pub(super) fn own<T>(self, weights: &[usize], items: Vec<T>) -> Vec<T> {
        let owners = share(weights, self.ranks);
        let own = items.into_iter().zip(owners);
        own.filter_map(|(item, owner)| (owner == self.rank).then_some(item))
            .collect()
    }
}

/// The owner of each item among `ranks`.
fn share(weights: &[usize], ranks: usize) -> Vec<usize> {
    let mut heaviest_first: Vec<usize> = (0..weights.len()).collect();
    heaviest_first.sort_by_key(|index| std::cmp::Reverse(weights[*index]));
    let mut loads = vec![(0, 0); ranks];
    let mut owners = vec![0; weights.len()];
    for index in heaviest_first {
        // Of equal loads that of fewer items, then that of the lower rank.
        let least = (0..ranks).min_by_key(|rank| loads[*rank]).unwrap_or(0);
        owners[index] = least;
        loads[least].0 += weights[index];
        loads[least].1 += 1;
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_shared_once_and_evenly() {
        let weights: Vec<usize> = (0..57_usize).map(|i| 10 + (i * 7919) % 300).collect();
        for count in [0, 1, 2, 5, 57] {
            for ranks in 1..7 {
                let weights = &weights[..count];
                let items: Vec<usize> = (0..count).collect();
                let of = |rank| Shard { rank, ranks }.own(weights, items.clone());
                let parts: Vec<Vec<usize>> = (0..ranks).map(of).collect();
                assert!(parts.iter().all(|part| part.is_sorted()));
                let mut all = parts.concat();
                all.sort_unstable();
                assert_eq!(all, items);
                let load = |part: &Vec<usize>| part.iter().map(|i| weights[*i]).sum::<usize>();
                let loads: Vec<usize> = parts.iter().map(load).collect();
                let (least, most) = (loads.iter().min(), loads.iter().max());
                let heaviest = weights.iter().max().copied().unwrap_or(0);
                assert!(most.unwrap() - least.unwrap() <= heaviest, "{loads:?}");
            }
        }
    }

    #[test]
    fn equal_weights_are_shared_in_equal_numbers() {
        assert_eq!(share(&[5; 7], 3), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(share(&[0; 4], 2), [0, 1, 0, 1]);
    }
}
