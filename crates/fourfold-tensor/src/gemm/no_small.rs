//! What [`super::small`] is where there is no such machine: nothing.

use super::Matrix;
use crate::Precision;

#[derive(Clone, Copy)]
pub(crate) enum SmallProducts {}

#[derive(Default)]
pub(crate) struct Packed;

#[derive(Clone, Copy)]
pub(crate) enum Session {}

impl SmallProducts {
    pub(crate) fn find(_precision: Precision) -> Option<Self> {
        None
    }

    pub(crate) fn session<T>(self, _work: impl FnOnce(Session) -> T) -> T {
        match self {}
    }
}

impl Session {
    pub(crate) fn left(self, _matrix: Matrix<'_>, _out: &mut Packed) {
        match self {}
    }

    pub(crate) fn right(self, _matrix: Matrix<'_>, _out: &mut Packed) {
        match self {}
    }

    pub(crate) fn multiply(
        self,
        _left: (&Packed, usize, usize),
        _right: &Packed,
        _out: &mut [f32],
        _stride: usize,
        _add: bool,
    ) {
        match self {}
    }
}
