//! Command lines out of a document: the lines of its shell blocks, and the commands in them.

/// One command of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Documented {
    /// The document and its line, from 1, as `README.md:7`.
    pub(super) place: String,
    /// The command's words, the program among them.
    pub(super) words: Vec<String>,
    /// The whole shell line that it is a part of, as it is written.
    pub(super) whole: String,
}

/// What a word of a shell line is.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// What ends a command: `|`, `&&`, `||`, `;`, `&`.
    End,
    /// What sends a stream to or from a file, which is the next word.
    Redirection,
}

/// Every simple command of the blocks that are fenced as `sh`. A line that ends in a backslash goes on in the next one.
///
/// `name` is the document's.
pub(super) fn commands(name: &str, document: &str) -> Vec<Documented> {
    let mut found = Vec::new();
    let mut in_block = false;
    let mut begun: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(document.lines()) {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            in_block = !in_block && language.trim() == "sh";
            continue;
        }
        if !in_block {
            continue;
        }
        let (at, before) = begun.take().unwrap_or((number, String::new()));
        match line.strip_suffix('\\') {
            Some(part) => begun = Some((at, before + part)),
            None => {
                let whole = before + line;
                found.extend(simple(&whole).into_iter().map(|words| Documented {
                    place: format!("{name}:{at}"),
                    words,
                    whole: whole.clone(),
                }));
            }
        }
    }
    found
}

/// The words of each command of a line; what streams come from or go to is left out.
fn simple(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut tokens = tokens(line).into_iter();
    while let Some(token) = tokens.next() {
        match (token, commands.last_mut()) {
            (Token::Word(word), Some(command)) => command.push(word),
            (Token::Redirection, _) => drop(tokens.next()),
            _ => commands.push(Vec::new()),
        }
    }
    commands.retain(|words| !words.is_empty());
    commands
}

fn tokens(line: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '&' | ';' | '>' | '<') => {
                // `2>` and the like: the number is no word.
                let is_number = |word: &String| word.chars().all(|digit| digit.is_ascii_digit());
                let is_stream = matches!(character, '>' | '<');
                let word = word.take().filter(|word| !(is_stream && is_number(word)));
                tokens.extend(word.map(Token::Word));
                while characters.next_if(|next| *next == character).is_some() {}
                // `>&1` names a stream in the place of a file.
                if is_stream {
                    characters.next_if_eq(&'&');
                }
                tokens.push(if is_stream { Token::Redirection } else { Token::End });
            }
            (None, _) if character.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    tokens.extend(word.map(Token::Word));
    tokens
}

/// The arguments that a command gives to `program`, where it starts that: by itself, as root, on another host, in a container.
pub(super) fn arguments_of<'a>(words: &'a [String], program: &[&str]) -> Option<&'a [String]> {
    let mut rest = words;
    loop {
        if let Some(arguments) = strip(rest, program) {
            return Some(arguments);
        }
        rest = match rest.first()?.as_str() {
            "sudo" | "time" => &rest[1..],
            "ssh" => {
                let host = rest.iter().skip(1).position(|word| !word.starts_with('-'))? + 1;
                &rest[host + 1..]
            }
            "kubectl" | "podman" | "docker" => {
                let command = rest.iter().position(|word| word == "--")?;
                &rest[command + 1..]
            }
            _ => return None,
        };
    }
}

fn strip<'a>(words: &'a [String], program: &[&str]) -> Option<&'a [String]> {
    let (begin, arguments) = words.split_at_checked(program.len())?;
    let is_it = |(word, name): (&String, &&str)| word.rsplit('/').next() == Some(*name);
    begin.iter().zip(program).all(is_it).then_some(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn commands_are_taken_from_shell_blocks_alone() {
        let document = "ldrscope prose\n```text\nldrscope | output\n```\n```sh\n# a comment\nsudo ldrscope watch   # all\n\
                        ldrscope a \\\n  --b\n```\nldrscope after\n";
        let found = commands("README.md", document);
        assert_eq!(
            found,
            [
                Documented {
                    place: "README.md:7".to_owned(),
                    words: words("sudo ldrscope watch"),
                    whole: "sudo ldrscope watch   # all".to_owned(),
                },
                Documented {
                    place: "README.md:8".to_owned(),
                    words: words("ldrscope a --b"),
                    whole: "ldrscope a   --b".to_owned(),
                },
            ]
        );
    }

    #[test]
    fn a_line_is_taken_apart_as_a_shell_would() {
        let commands = simple("a 'b c' \"d|e\" > file 2>&1 | f#g && h -- -i; j 2> k # l");
        let expected: [&[&str]; 4] = [&["a", "b c", "d|e"], &["f#g"], &["h", "--", "-i"], &["j"]];
        assert_eq!(commands.len(), 4, "{commands:?}");
        for (command, expected) in commands.iter().zip(expected) {
            assert_eq!(command, expected);
        }
    }

    #[test]
    fn a_program_is_found_behind_what_starts_it() {
        for line in [
            "ldrscope watch --vm a",
            "sudo ldrscope watch --vm a",
            "ssh host sudo ldrscope watch --vm a",
            "ssh -t host ldrscope watch --vm a",
            "kubectl -n x exec POD -- /usr/bin/ldrscope watch --vm a",
        ] {
            let words = words(line);
            let arguments = arguments_of(&words, &["ldrscope"]).unwrap();
            assert_eq!(arguments, ["watch", "--vm", "a"], "{line}");
        }
        assert_eq!(
            arguments_of(&words("journalctl -t ldrscope"), &["ldrscope"]),
            None
        );
        let xtask = words("cargo xtask lab -- ldrscope doctor");
        assert_eq!(arguments_of(&xtask, &["cargo", "xtask"]).unwrap().len(), 4);
    }
}
