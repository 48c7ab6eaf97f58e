//! Packs that are as full as the documents at hand allow.

use std::cmp::Reverse;

use super::{Extent, PackBudget};

/// Documents of one extent, by their places; the next one to be laid is last.
struct Kind {
    extent: Extent,
    places: Vec<usize>,
}

/// Lays documents in packs, one pack after the other: the longest that is left, and those beside it that leave the fewest
/// rows empty (the minimum bin slack heuristic of Gupta and Ho, 1999, with the largest item fixed as Fleszar and Hindi
/// propose, 2002). Gives each pack's documents, by their place in `documents`. None is split or lost. A document that is
/// larger than a pack has one of its own.
///
/// Captions are nearly of one length: a pack of the longest first then ends with a gap that no document is short enough
/// for, where here some shorter ones make room. Takes the number of different extents times `budget.tokens` steps a pack.
pub fn fullest(documents: &[Extent], budget: PackBudget) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..documents.len()).collect();
    order.sort_by_key(|&place| (Reverse(documents[place].tokens), documents[place].images));
    let mut kinds: Vec<Kind> = Vec::new();
    for place in order {
        let extent = documents[place];
        match kinds.last_mut() {
            Some(kind) if kind.extent == extent => kind.places.push(place),
            _ => kinds.push(Kind {
                extent,
                places: vec![place],
            }),
        }
    }
    kinds.iter_mut().for_each(|kind| kind.places.reverse());
    let mut packs = Vec::new();
    while let Some(longest) = kinds.first_mut() {
        let mut pack: Vec<usize> = longest.places.pop().into_iter().collect();
        let room = PackBudget {
            tokens: budget.tokens.saturating_sub(longest.extent.tokens),
            images: budget.images.saturating_sub(longest.extent.images),
        };
        let alone = longest.extent.images > budget.images;
        kinds.retain(|kind| !kind.places.is_empty());
        if !alone {
            take(&mut kinds, room, &mut pack);
            kinds.retain(|kind| !kind.places.is_empty());
        }
        packs.push(pack);
    }
    packs
}

/// Moves the documents of `kinds` that fill `room` best to `pack`.
fn take(kinds: &mut [Kind], room: PackBudget, pack: &mut Vec<usize>) {
    let sum = |of: fn(&Extent) -> usize| -> usize {
        let sums = kinds
            .iter()
            .map(|kind| of(&kind.extent).saturating_mul(kind.places.len()));
        sums.fold(0, usize::saturating_add)
    };
    let (tokens, images) = (sum(|extent| extent.tokens), sum(|extent| extent.images));
    if tokens <= room.tokens && images <= room.images {
        kinds
            .iter_mut()
            .for_each(|kind| pack.extend(kind.places.drain(..).rev()));
        return;
    }
    // Of each number of rows that some documents have together: the images of those, and which kind was added last.
    let most = room.tokens.min(tokens);
    let mut sums: Vec<Option<(usize, usize)>> = vec![None; most + 1];
    sums[0] = Some((0, usize::MAX));
    for (number, kind) in kinds.iter().enumerate() {
        let Extent { tokens, images } = kind.extent;
        if tokens == 0 || tokens > most {
            continue;
        }
        let mut added = vec![0; most + 1];
        for rows in tokens..=most {
            let (None, Some((held, _))) = (sums[rows], sums[rows - tokens]) else {
                continue;
            };
            if held + images <= room.images && added[rows - tokens] < kind.places.len() {
                sums[rows] = Some((held + images, number));
                added[rows] = added[rows - tokens] + 1;
            }
        }
        if sums[most].is_some() {
            break;
        }
    }
    let mut rows = sums.iter().rposition(Option::is_some).unwrap_or(0);
    while let Some((_, number)) = sums[rows].filter(|_| rows > 0) {
        pack.extend(kinds[number].places.pop());
        rows -= kinds[number].extent.tokens;
    }
}
