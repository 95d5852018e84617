//! Any bytes from the kernel side: a record of the ring, or copies of a VM in the window.
//!
//! The first byte of an input chooses between the two; which is then in [`ring`] and [`window`].

mod ring;
mod window;

use crate::Target;

/// The target.
pub const TARGET: Target = Target {
    name: "record",
    check,
    seeds,
    show,
};

fn seeds() -> Vec<Vec<u8>> {
    let ring = ring::seeds().into_iter().map(|seed| [vec![0], seed].concat());
    let window = window::seeds().into_iter().map(|seed| [vec![1], seed].concat());
    ring.chain(window).collect()
}

fn check(input: &[u8]) {
    match input.split_first() {
        None => {}
        Some((choice, bytes)) if choice % 2 == 0 => ring::check(bytes),
        Some((_, bytes)) => window::check(bytes),
    }
}

fn show(input: &[u8]) -> String {
    match input.split_first() {
        None => "nothing".to_owned(),
        Some((choice, bytes)) if choice % 2 == 0 => ring::show(bytes),
        Some((_, bytes)) => window::show(bytes),
    }
}
