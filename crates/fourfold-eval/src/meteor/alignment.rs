//! Which word of the candidate stands for which of the reference.
//!
//! A pair that neither word has another match beside is taken as it is. Of the others a beam search along the reference
//! finds the most exact matches, then the fewest chunks, then the least distance. Two habits of the reference program
//! decide many scores and are kept. Only exact matches count as covered: a pair of one stem, or of synonyms, is taken where
//! it makes no new chunk. And the distance of a match is added to the paths that go on without it, not to the one that
//! takes it. (Its paper has neither; the alignments that it prints show both.)

use std::cmp::{Ordering, Reverse};

use super::lexicon::Word;

/// Paths that are followed at each word of the reference.
const BEAM: usize = 40;

/// What two words have in common, the closest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Exact,
    Stem,
    Synonym,
}

/// A pair of words, by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    pub candidate: usize,
    pub reference: usize,
    pub stage: Stage,
}

/// Pairs without a word in two of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alignment {
    /// In the order of the reference.
    pub matches: Vec<Match>,
    /// Runs of pairs that are neighbours, in the same order, on both sides.
    pub chunks: usize,
}

/// Aligns the words of a candidate with those of a reference.
pub(super) fn align(candidate: &[&Word], reference: &[&Word]) -> Alignment {
    let options: Vec<Vec<Match>> = (0..reference.len())
        .map(|place| options(candidate, reference[place], place))
        .collect();
    let mut rivals = vec![0; candidate.len()];
    for option in options.iter().flatten() {
        rivals[option.candidate] += 1;
    }
    let mut search = Search {
        steps: Vec::new(),
        used: vec![false; candidate.len()],
    };
    let mut paths = vec![Path::default()];
    for options in &options {
        search.keep_best(&mut paths);
        match options[..] {
            [only] if rivals[only.candidate] == 1 => paths.iter_mut().for_each(|path| {
                path.take(only);
                path.distance += distance(only);
            }),
            _ => paths = search.choices(&paths, options),
        }
    }
    search.keep_best(&mut paths);
    paths.iter_mut().for_each(Path::close);
    // The first of equal ones.
    let best = paths.into_iter().min_by_key(Path::rank);
    search.alignment(&best.unwrap_or_default())
}

/// What `word`, at `place` of the reference, can stand for: the closest matches first, then from left to right.
fn options(candidate: &[&Word], word: &Word, place: usize) -> Vec<Match> {
    let found = |stage: Stage, matches: fn(&Word, &Word) -> bool| {
        let places = candidate.iter().enumerate();
        places
            .filter(move |(_, other)| matches(other, word))
            .map(move |(candidate, _)| Match {
                candidate,
                reference: place,
                stage,
            })
    };
    found(Stage::Exact, |a, b| a.number == b.number)
        .chain(found(Stage::Stem, |a, b| {
            a.stem == b.stem && a.number != b.number
        }))
        .chain(found(Stage::Synonym, |a, b| {
            a.number != b.number && have_common(&a.synsets, &b.synsets)
        }))
        .collect()
}

/// Whether two ascending lists share a value.
fn have_common(mut a: &[u32], mut b: &[u32]) -> bool {
    while let ([first, rest @ ..], [other, others @ ..]) = (a, b) {
        match first.cmp(other) {
            Ordering::Less => a = rest,
            Ordering::Equal => return true,
            Ordering::Greater => b = others,
        }
    }
    false
}

fn distance(found: Match) -> usize {
    found.candidate.abs_diff(found.reference)
}

/// A partial alignment.
#[derive(Debug, Clone, Default)]
struct Path {
    exact: usize,
    /// Chunks that have ended.
    chunks: usize,
    distance: usize,
    /// The candidate's place after the last match, where that was of the word before.
    open: Option<usize>,
    /// The match of this step.
    new: Option<Match>,
    /// The last of the earlier ones.
    last: Option<usize>,
}

impl Path {
    /// Smaller is better.
    fn rank(&self) -> (Reverse<usize>, usize, usize) {
        (Reverse(self.exact), self.chunks, self.distance)
    }

    fn take(&mut self, found: Match) {
        if self.open != Some(found.candidate) {
            self.close();
        }
        self.exact += usize::from(found.stage == Stage::Exact);
        self.open = Some(found.candidate + 1);
        self.new = Some(found);
    }

    fn close(&mut self) {
        self.chunks += usize::from(self.open.take().is_some());
    }
}

struct Search {
    /// The matches of all paths, each with the place of the one before it on its path.
    steps: Vec<(Match, Option<usize>)>,
    /// The candidate's words that the path at hand has used.
    used: Vec<bool>,
}

impl Search {
    /// Leaves the paths that the beam has room for, the best first, earlier ones before equal ones.
    fn keep_best(&mut self, paths: &mut Vec<Path>) {
        paths.sort_by_key(Path::rank);
        paths.truncate(BEAM);
        for path in paths {
            if let Some(found) = path.new.take() {
                self.steps.push((found, path.last));
                path.last = Some(self.steps.len() - 1);
            }
        }
    }

    /// The paths that take a match, and those that take none.
    fn choices(&mut self, paths: &[Path], options: &[Match]) -> Vec<Path> {
        let mut next = Vec::with_capacity(paths.len());
        for path in paths {
            self.mark(path, true);
            let mut without = path.clone();
            for option in options.iter().filter(|o| !self.used[o.candidate]) {
                let mut with = without.clone();
                with.take(*option);
                next.push(with);
                without.distance += distance(*option);
            }
            without.close();
            next.push(without);
            self.mark(path, false);
        }
        next
    }

    fn mark(&mut self, path: &Path, used: bool) {
        let mut last = path.last;
        while let Some(at) = last {
            let (found, before) = self.steps[at];
            self.used[found.candidate] = used;
            last = before;
        }
    }

    fn alignment(&self, path: &Path) -> Alignment {
        let steps = std::iter::successors(path.last, |&at| self.steps[at].1);
        let mut matches: Vec<Match> = steps.map(|at| self.steps[at].0).collect();
        matches.reverse();
        Alignment {
            matches,
            chunks: path.chunks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of one letter stand for themselves, others for what they are without their final `s`.
    fn aligned(candidate: &str, reference: &str) -> (Vec<(usize, usize)>, usize) {
        let words = |text: &str| -> Vec<Word> {
            let hash = |word: &str| word.bytes().fold(0, |hash, b| hash * 31 + u32::from(b));
            text.split(' ')
                .map(|word| Word {
                    number: hash(word),
                    stem: hash(word.trim_end_matches('s')),
                    ..Word::default()
                })
                .collect()
        };
        let (candidate, reference) = (words(candidate), words(reference));
        let alignment = align(
            &candidate.iter().collect::<Vec<_>>(),
            &reference.iter().collect::<Vec<_>>(),
        );
        let pairs = alignment.matches.iter();
        let pairs = pairs.map(|found| (found.candidate, found.reference));
        (pairs.collect(), alignment.chunks)
    }

    #[test]
    fn runs_in_one_order_are_chunks() {
        assert_eq!(aligned("a b c", "a b c"), (vec![(0, 0), (1, 1), (2, 2)], 1));
        let swapped = vec![(2, 0), (3, 1), (0, 2), (1, 3)];
        assert_eq!(aligned("a b c d", "c d a b"), (swapped, 2));
        assert_eq!(aligned("a x b", "a y b"), (vec![(0, 0), (2, 2)], 2));
        assert_eq!(aligned("a x b", "a b"), (vec![(0, 0), (2, 1)], 2));
        assert_eq!(aligned("a", "b"), (vec![], 0));
    }

    #[test]
    fn a_repeated_word_is_used_where_chunks_are_fewest() {
        assert_eq!(aligned("a a b", "a b"), (vec![(1, 0), (2, 1)], 1));
        assert_eq!(aligned("b a", "a b a"), (vec![(0, 1), (1, 2)], 1));
    }

    #[test]
    fn exact_matches_come_before_chunks() {
        assert_eq!(aligned("dogs dog", "dog dogs"), (vec![(1, 0), (0, 1)], 2));
    }

    #[test]
    fn a_choice_of_stems_is_made_only_beside_a_match() {
        assert_eq!(aligned("dogs y x", "dog z x"), (vec![(0, 0), (2, 2)], 2));
        assert_eq!(aligned("dogs dogs x", "dog x"), (vec![(1, 0), (2, 1)], 1));
        assert_eq!(aligned("dogs dogs y x", "dog z x"), (vec![(3, 2)], 1));
    }

    #[test]
    fn distance_is_that_of_matches_left_out() {
        assert_eq!(aligned("x", "x x"), (vec![(0, 1)], 1));
        assert_eq!(aligned("q x", "x x"), (vec![(1, 0)], 1));
        assert_eq!(aligned("q q q q x", "x w x w x"), (vec![(4, 0)], 1));
    }

    #[test]
    fn long_texts_of_one_word_take_no_long_time() {
        let text = ["a"; 600].join(" ");
        let (pairs, chunks) = aligned(&text, &text);
        assert_eq!((pairs.len(), chunks), (600, 1));
    }
}
