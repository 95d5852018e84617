//! The file: TOML with the names of the flags.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place};
use crate::cli::Options;

/// A file that is longer is none that somebody wrote.
const LONGEST: u64 = 1 << 20;

/// What a file says, and where; nothing where there is none.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) path: Option<PathBuf>,
    pub(super) options: Options,
    /// The place of each key.
    places: BTreeMap<String, Place>,
}

impl Source {
    /// Where a setting was made that the flags do or do not make.
    pub(super) fn place(&self, key: &'static str, by_flag: bool) -> Place {
        match self.places.get(key) {
            _ if by_flag => Place::Flag(key),
            Some(place) => place.clone(),
            None => Place::Default(key),
        }
    }
}

/// Reads the file that is named, or else the default one, which need not exist.
pub(super) fn read(named: Option<&Path>, default: &Path) -> Result<Source, ConfigError> {
    let path = named.unwrap_or(default);
    let text = match text(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {
            return Ok(Source::default());
        }
        text => text.map_err(|error| {
            ConfigError::new(
                Place::File(path.to_owned()),
                format!("cannot be read: {error}"),
                "name a file that can be read with --config, or leave that out",
            )
        })?,
    };
    parse(path, &text)
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Source, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| refusal(path, text, &error, None))?;
    let known = Options::keys();
    let mut places = BTreeMap::new();
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let place = Place::line(path, text, key.span().start);
        if !known.iter().any(|known| *known == **key.get_ref()) {
            let is_table = matches!(value.get_ref(), DeValue::Table(_));
            return Err(unknown(place, key.get_ref(), is_table, &known));
        }
        places.insert(key.get_ref().to_string(), place);
    }
    let options = toml::from_str(text).map_err(|error| {
        // A value's error does not name its key.
        let at = error.span().map(|span| Place::line(path, text, span.start));
        let key = places.iter().find(|(_, place)| Some(*place) == at.as_ref());
        refusal(path, text, &error, key.map(|(key, _)| key.as_str()))
    })?;
    Ok(Source {
        path: Some(path.to_owned()),
        options,
        places,
    })
}

fn refusal(path: &Path, text: &str, error: &toml::de::Error, key: Option<&str>) -> ConfigError {
    let place = match error.span() {
        Some(span) => Place::line(path, text, span.start),
        None => Place::File(path.to_owned()),
    };
    let message = error.message().trim().replace('\n', ", ");
    match key {
        Some(key) => ConfigError::new(
            place,
            format!("{key}: {message}"),
            format!("`ldrscope serve --help` says what {key} takes"),
        ),
        None => ConfigError::new(
            place,
            match error.span().and_then(|span| line_at(text, span.start)) {
                Some(line) => format!("{message}: `{line}`"),
                None => message,
            },
            "each line is `key = value`, texts in quotes, as in `journal = \"auto\"`",
        ),
    }
}

/// The line that an error is in, or the beginning of a long one.
fn line_at(text: &str, offset: usize) -> Option<&str> {
    const SHOWN: usize = 80;
    let begin = text.get(..offset)?.rfind('\n').map_or(0, |end| end + 1);
    let line = text.get(begin..)?.lines().next()?;
    Some(&line[..line.floor_char_boundary(SHOWN)])
}

fn unknown(place: Place, key: &str, is_table: bool, known: &[String]) -> ConfigError {
    let what = match nearest(key, known) {
        _ if is_table => format!("there are no tables, such as [{key}]; all keys stand at the top"),
        Some(near) => format!("there is no key `{key}`; did you mean `{near}`?"),
        None => format!("there is no key `{key}`"),
    };
    ConfigError::new(place, what, format!("known keys are {}", known.join(", ")))
}

/// The key that a typing error may have meant: at most a third of it is different.
fn nearest<'a>(key: &str, known: &'a [String]) -> Option<&'a str> {
    let with_dashes = key.to_lowercase().replace('_', "-");
    known
        .iter()
        .map(|known| (distance(&with_dashes, known), known))
        .filter(|(distance, known)| distance * 3 <= known.len())
        .min()
        .map(|(_, known)| known.as_str())
}

/// How many characters must be put in, taken out or replaced.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    // What is longer than any key is near to none.
    for (i, character) in one.chars().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, opposite) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(character != *opposite);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_changed_characters() {
        for (one, other, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("listen", "listn", 1),
            ("kitten", "sitting", 3),
            ("journal", "jorunal", 2),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_typing_error_is_told_from_nonsense() {
        let known = Options::keys();
        assert_eq!(nearest("listn", &known), Some("listen"));
        assert_eq!(nearest("Event_Log", &known), Some("event-log"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("", &known), None);
    }
}
