//! What the keys mean.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::place::{Pane, Step};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// End.
    Quit,
    /// Up or down.
    Move(Step),
    /// Open the VM that is selected.
    Open,
    /// Back to where one came from.
    Back,
    /// Go to the next pane.
    NextPane,
    /// Go to the pane before.
    PreviousPane,
    /// Go to this pane.
    Show(Pane),
    /// Sort by something else.
    Sort,
    /// Begin to type a filter.
    Filter,
    /// A character of the filter.
    Type(char),
    /// Take the last one back.
    Erase,
    /// Keep the filter.
    Accept,
    /// Drop it.
    Abandon,
    /// Show what the keys do.
    Help,
    /// Show the last lines of the log.
    Log,
    /// Write a snapshot.
    Snapshot,
    /// Stop a recording, or go on.
    Pause,
}

/// What is said of the keys where there is room for it.
pub const HELP: [(&str, &str); 15] = [
    ("Up Down  k j", "one line up or down"),
    ("PgUp PgDn", "one page up or down"),
    ("Home End  g G", "to the beginning, to the end"),
    ("Enter", "open the VM that is selected"),
    (
        "Esc  Backspace",
        "back to the list of VMs; there: drop the filter",
    ),
    ("Tab  Shift-Tab", "next and previous part of a VM's screen"),
    ("1 2 3 4", "its map, findings, vCPUs, timeline"),
    ("/", "list only VMs with this in their name, UUID or VMM,"),
    ("", "or with this pid, rule, or severity; Enter keeps it"),
    ("s", "sort by severity, name, last change, vCPUs"),
    (
        "S",
        "write a snapshot (JSON) into the directory of --snapshot-dir",
    ),
    ("Space", "stop a recording, or go on"),
    ("l", "the last lines of the log"),
    ("?  h", "this"),
    ("q  Ctrl-C", "end"),
];

/// What a key means, `is_typing` where it may go into the filter.
#[must_use]
pub fn action(key: KeyEvent, is_typing: bool) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let held = key
        .modifiers
        .intersection(KeyModifiers::CONTROL | KeyModifiers::ALT);
    if !held.is_empty() {
        return match (key.code, held) {
            (KeyCode::Char('c'), KeyModifiers::CONTROL) => Some(Action::Quit),
            _ => None,
        };
    }
    let step = match key.code {
        KeyCode::Up => Some(Step::Up),
        KeyCode::Down => Some(Step::Down),
        KeyCode::PageUp => Some(Step::PageUp),
        KeyCode::PageDown => Some(Step::PageDown),
        KeyCode::Home => Some(Step::Home),
        KeyCode::End => Some(Step::End),
        _ => None,
    };
    match step {
        Some(step) => Some(Action::Move(step)),
        None if is_typing => typed(key.code),
        None => pressed(key.code),
    }
}

const fn typed(code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Char(character) => Some(Action::Type(character)),
        KeyCode::Backspace => Some(Action::Erase),
        KeyCode::Enter => Some(Action::Accept),
        KeyCode::Esc => Some(Action::Abandon),
        _ => None,
    }
}

const fn pressed(code: KeyCode) -> Option<Action> {
    let action = match code {
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Char('k') => Action::Move(Step::Up),
        KeyCode::Char('j') => Action::Move(Step::Down),
        KeyCode::Char('g') => Action::Move(Step::Home),
        KeyCode::Char('G') => Action::Move(Step::End),
        KeyCode::Enter => Action::Open,
        KeyCode::Esc | KeyCode::Backspace => Action::Back,
        KeyCode::Tab => Action::NextPane,
        KeyCode::BackTab => Action::PreviousPane,
        KeyCode::Char('1') => Action::Show(Pane::Map),
        KeyCode::Char('2') => Action::Show(Pane::Findings),
        KeyCode::Char('3') => Action::Show(Pane::Vcpus),
        KeyCode::Char('4') => Action::Show(Pane::Timeline),
        KeyCode::Char('/') => Action::Filter,
        KeyCode::Char('s') => Action::Sort,
        KeyCode::Char('S') => Action::Snapshot,
        KeyCode::Char(' ') => Action::Pause,
        KeyCode::Char('l') => Action::Log,
        KeyCode::Char('?' | 'h') => Action::Help,
        _ => return None,
    };
    Some(action)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn letters_are_keys_unless_a_filter_is_typed() {
        assert_eq!(action(key(KeyCode::Char('q')), false), Some(Action::Quit));
        assert_eq!(action(key(KeyCode::Char('q')), true), Some(Action::Type('q')));
        assert_eq!(action(key(KeyCode::Esc), false), Some(Action::Back));
        assert_eq!(action(key(KeyCode::Esc), true), Some(Action::Abandon));
        assert_eq!(action(key(KeyCode::Down), true), Some(Action::Move(Step::Down)));
    }

    #[test]
    fn control_c_ends_it_whatever_is_typed_and_a_key_that_is_let_go_does_nothing() {
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(action(control_c, true), Some(Action::Quit));
        let release = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(action(release, false), None);
        assert_eq!(
            action(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::ALT), false),
            None
        );
    }
}
