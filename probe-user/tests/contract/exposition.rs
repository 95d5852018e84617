//! Prometheus' text format as its readers read it: a strict parser of what is used of it, and `promtool`.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
};

/// Labels in order, unescaped.
pub(crate) type Labels = Vec<(String, String)>;

/// Every sample line as its metric and its labels.
pub(crate) fn series(text: &str) -> Vec<(String, Labels)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parsed = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap();
        let Some((name, labels)) = series.split_once('{') else {
            return (series.to_owned(), Vec::new());
        };
        (name.to_owned(), labels_of(labels.strip_suffix('}').unwrap()))
    });
    parsed.collect()
}

fn labels_of(mut text: &str) -> Labels {
    let mut labels = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").unwrap();
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next().unwrap() {
                (end, '"') => break end,
                (_, '\\') => match characters.next().unwrap().1 {
                    'n' => value.push('\n'),
                    escaped @ ('\\' | '"') => value.push(escaped),
                    other => panic!("`\\{other}` is no escape of the format"),
                },
                (_, character) => value.push(character),
            }
        };
        labels.push((name.to_owned(), value));
        text = rest[end + 1..].trim_start_matches(',');
    }
    labels
}

/// No series is there twice.
pub(crate) fn distinct(text: &str) {
    let all = series(text);
    let unique: BTreeSet<_> = all.iter().collect();
    assert_eq!(unique.len(), all.len(), "a series is there twice:\n{text}");
}

/// Prometheus' own tool has nothing to say against it.
pub(crate) fn promtool_accepts(text: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = promtool.unwrap_or_else(|error| {
        panic!(
            "promtool cannot be started ({error}); it comes with Prometheus: \
             `apt-get install --no-install-recommends prometheus`, or `cargo xtask setup`"
        )
    });
    // Dropped once written: that ends its input.
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let said = promtool.wait_with_output().unwrap();
    let words = [said.stdout, said.stderr].concat();
    assert!(
        said.status.success() && words.is_empty(),
        "promtool says of the metrics:\n{}\n{text}",
        String::from_utf8_lossy(&words)
    );
}
