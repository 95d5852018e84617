//! Values of the file: a text, or a plain number where that is one, read by the parser of the flag.

use std::{fmt, marker::PhantomData, time::Duration};

use clap::ValueEnum;
use serde::{
    Deserializer,
    de::{Error, Visitor},
};

use super::{
    JournalMode, Listen, RateLimit,
    value::{self, BadValue},
};
use crate::cli::{Hooks, value as shared};

/// One function for each parser, as serde's attribute takes only a name.
macro_rules! readers {
    ($($name:ident: $value:ty = $parse:expr;)*) => {
        $(
            pub(super) fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<$value>, D::Error> {
                read(deserializer, $parse)
            }
        )*
    };
}

readers! {
    listen: Listen = value::listen;
    interval: Duration = value::interval;
    count: u32 = value::count;
    size: u64 = value::size;
    rate_limit: RateLimit = value::rate_limit;
    duration: Duration = shared::duration;
    ring_bytes: u32 = shared::ring_bytes;
    journal: JournalMode = choice;
    hooks: Hooks = choice;
    text: String = |text: &str| Ok::<_, BadValue>(text.to_owned());
}

/// One of a few words; the error names them.
fn choice<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, false).map_err(|_| {
        let words = T::value_variants()
            .iter()
            .filter_map(ValueEnum::to_possible_value);
        let words: Vec<String> = words.map(|word| word.get_name().to_owned()).collect();
        format!("not one of {}", words.join(", "))
    })
}

fn read<'de, D, T, E>(deserializer: D, parse: impl Fn(&str) -> Result<T, E>) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    E: fmt::Display,
{
    let word = Word {
        parse,
        value: PhantomData,
    };
    deserializer.deserialize_any(word).map(Some)
}

struct Word<T, P> {
    parse: P,
    value: PhantomData<T>,
}

impl<T, P, E> Visitor<'_> for Word<T, P>
where
    P: Fn(&str) -> Result<T, E>,
    E: fmt::Display,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_str<R: Error>(self, text: &str) -> Result<T, R> {
        (self.parse)(text).map_err(R::custom)
    }

    fn visit_i64<R: Error>(self, number: i64) -> Result<T, R> {
        self.visit_str(&number.to_string())
    }
}
