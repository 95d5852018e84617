//! What a VMM's command line says about its VM: name, UUID, and which VMM it is.
//!
//! Pure over the bytes of `/proc/PID/cmdline`, which any process can set to anything: invalid UTF-8 is
//! replaced, lengths are bounded, what does not parse is left out.

/// What the command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The VM's name.
    pub name: Option<String>,
    /// Canonical lower-case UUID.
    pub uuid: Option<String>,
    /// `qemu` or `firecracker`; `None` for any other program.
    pub vmm: Option<&'static str>,
}

/// The longest name kept, in bytes: longer than any VMM's own limit, short enough for a line of output.
const MAX_NAME: usize = 255;

/// Parses the NUL-separated arguments in `cmdline`; `comm` helps where a VMM has overwritten its arguments.
#[must_use]
pub fn parse(cmdline: &[u8], comm: &str) -> Words {
    let mut arguments = cmdline.split(|byte| *byte == 0);
    let program = arguments.next().map(base_name).unwrap_or_default();
    match known_vmm(&program).or_else(|| known_vmm(comm)) {
        Some("qemu") => qemu(arguments),
        Some("firecracker") => firecracker(arguments),
        _ => Words::default(),
    }
}

/// QEMU is installed as `qemu-system-x86_64`, `qemu-kvm` or `kvm`; Firecracker's releases carry a version.
fn known_vmm(program: &str) -> Option<&'static str> {
    if program.starts_with("qemu") || program == "kvm" {
        Some("qemu")
    } else if program.starts_with("firecracker") {
        Some("firecracker")
    } else {
        None
    }
}

fn base_name(path: &[u8]) -> String {
    let start = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    String::from_utf8_lossy(&path[start..]).into_owned()
}

/// `-name [guest=]NAME[,...]`, `-uuid UUID`, `-smbios type=1,uuid=UUID`; QEMU takes one dash or two. The
/// last one of a kind wins, and `-uuid` over `-smbios`.
fn qemu<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> Words {
    let mut words = Words {
        vmm: Some("qemu"),
        ..Words::default()
    };
    let mut smbios_uuid = None;
    while let Some(argument) = arguments.next() {
        match argument
            .strip_prefix(b"-")
            .map(|option| option.strip_prefix(b"-").unwrap_or(option))
        {
            Some(b"name") => {
                let options = QemuOptions::parse(arguments.next());
                words.name = options.implied_or("guest").and_then(bounded_name).or(words.name);
            }
            Some(b"uuid") => words.uuid = arguments.next().and_then(uuid_of).or(words.uuid),
            Some(b"smbios") => {
                let options = QemuOptions::parse(arguments.next());
                if options.get("type") == Some("1") {
                    smbios_uuid = options.get("uuid").and_then(canonical_uuid).or(smbios_uuid);
                }
            }
            _ => {}
        }
    }
    words.uuid = words.uuid.or(smbios_uuid);
    words
}

/// `--id ID` or `--id=ID`; arguments after `--` are not Firecracker's own.
fn firecracker<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> Words {
    let mut words = Words {
        vmm: Some("firecracker"),
        ..Words::default()
    };
    while let Some(argument) = arguments.next() {
        let id = match argument {
            b"--" => break,
            b"--id" => arguments.next(),
            _ => argument.strip_prefix(b"--id="),
        };
        if let Some(id) = id {
            words.name = bounded_name(&String::from_utf8_lossy(id)).or(words.name);
        }
    }
    words
}

/// QEMU's `key=value,key=value` lists, in which a comma inside a value is doubled.
struct QemuOptions {
    /// In order; a leading value without a key has the empty key.
    pairs: Vec<(String, String)>,
}

impl QemuOptions {
    fn parse(argument: Option<&[u8]>) -> Self {
        let text = String::from_utf8_lossy(argument.unwrap_or_default());
        let mut pairs = Vec::new();
        let mut item = String::new();
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            if character != ',' {
                item.push(character);
            } else if characters.next_if_eq(&',').is_some() {
                item.push(',');
            } else {
                pairs.push(Self::pair(&std::mem::take(&mut item), pairs.is_empty()));
            }
        }
        pairs.push(Self::pair(&item, pairs.is_empty()));
        Self { pairs }
    }

    /// Only the first item may leave its key out; a later one without `=` is a flag.
    fn pair(item: &str, first: bool) -> (String, String) {
        match item.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None if first => (String::new(), item.to_owned()),
            None => (item.to_owned(), String::new()),
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .rev()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }

    fn implied_or(&self, key: &str) -> Option<&str> {
        self.get(key).or_else(|| self.get(""))
    }
}

fn bounded_name(name: &str) -> Option<String> {
    let end = name.floor_char_boundary(MAX_NAME);
    (end > 0).then(|| name[..end].to_owned())
}

fn uuid_of(argument: &[u8]) -> Option<String> {
    canonical_uuid(&String::from_utf8_lossy(argument))
}

/// Lower case with dashes at the usual places; `None` for anything else, and for the nil UUID, by which
/// VMMs mean "none".
#[must_use]
pub fn canonical_uuid(text: &str) -> Option<String> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let dashes_in_place = text.len() == 32
        || (text.len() == 36
            && text
                .bytes()
                .enumerate()
                .all(|(i, b)| (b == b'-') == matches!(i, 8 | 13 | 18 | 23)));
    let is_uuid = digits.len() == 32 && dashes_in_place && digits.iter().all(u8::is_ascii_hexdigit);
    if !is_uuid || digits.iter().all(|digit| *digit == b'0') {
        return None;
    }
    let mut uuid = String::with_capacity(36);
    for (i, digit) in digits.iter().enumerate() {
        if matches!(i, 8 | 12 | 16 | 20) {
            uuid.push('-');
        }
        uuid.push(char::from(digit.to_ascii_lowercase()));
    }
    Some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

    fn words(arguments: &[&str]) -> Words {
        parse(arguments.join("\0").as_bytes(), "")
    }

    fn name(arguments: &[&str]) -> Option<String> {
        words(arguments).name
    }

    #[test]
    fn qemu_names_come_with_or_without_their_key() {
        assert_eq!(
            name(&[
                "/usr/bin/qemu-system-x86_64",
                "-name",
                "guest=web,debug-threads=on"
            ])
            .as_deref(),
            Some("web")
        );
        assert_eq!(
            name(&["qemu-kvm", "-name", "web,process=w"]).as_deref(),
            Some("web")
        );
        assert_eq!(
            name(&["kvm", "--name", "process=w,guest=web"]).as_deref(),
            Some("web")
        );
        assert_eq!(name(&["kvm", "-name", "debug-threads=on"]), None);
        assert_eq!(name(&["kvm", "-name"]), None);
    }

    #[test]
    fn a_doubled_comma_is_a_comma() {
        assert_eq!(
            name(&["kvm", "-name", "guest=a,,b,,,process=x"]).as_deref(),
            Some("a,b,")
        );
        assert_eq!(name(&["kvm", "-name", ",,,,"]).as_deref(), Some(",,"));
    }

    #[test]
    fn the_uuid_option_wins_over_smbios_of_type_1() {
        let other = "11111111-2222-3333-4444-555555555555";
        let smbios = format!("type=1,manufacturer=x,uuid={UUID}");
        assert_eq!(words(&["kvm", "-smbios", &smbios]).uuid.as_deref(), Some(UUID));
        assert_eq!(
            words(&["kvm", "-uuid", other, "-smbios", &smbios])
                .uuid
                .as_deref(),
            Some(other)
        );
        let other_type = format!("type=2,uuid={UUID}");
        assert_eq!(words(&["kvm", "-smbios", &other_type]).uuid, None);
    }

    #[test]
    fn uuids_become_canonical_and_odd_ones_are_none() {
        assert_eq!(canonical_uuid(&UUID.to_uppercase()).as_deref(), Some(UUID));
        assert_eq!(canonical_uuid(&UUID.replace('-', "")).as_deref(), Some(UUID));
        for odd in [
            "",
            "x",
            "0a1b2c3d4-e5f-6071-8293-a4b5c6d7e8f9",
            "00000000-0000-0000-0000-000000000000",
            "ä",
        ] {
            assert_eq!(canonical_uuid(odd), None, "{odd}");
        }
    }

    #[test]
    fn firecracker_is_named_by_its_id() {
        assert_eq!(
            name(&["/firecracker-v1.10", "--id", "fc-1", "--api-sock", "x"]).as_deref(),
            Some("fc-1")
        );
        assert_eq!(name(&["firecracker", "--id=fc-2"]).as_deref(), Some("fc-2"));
        assert_eq!(name(&["firecracker", "--", "--id", "fc-3"]), None);
        assert_eq!(parse(b"\0", "firecracker").vmm, Some("firecracker"));
    }

    #[test]
    fn other_programs_say_nothing() {
        assert_eq!(words(&["crosvm", "run", "-name", "x"]), Words::default());
        assert_eq!(parse(b"", ""), Words::default());
    }

    #[test]
    fn hostile_bytes_are_bounded_and_made_valid() {
        let mut argv = b"kvm\0-name\0guest=\x1b[31m\xff\xfe".to_vec();
        argv.extend(std::iter::repeat_n("€".as_bytes(), 64 * 1024).flatten());
        let name = parse(&argv, "").name.unwrap();
        assert!(name.starts_with("\x1b[31m\u{fffd}\u{fffd}€"));
        assert!(name.len() <= MAX_NAME);
    }
}
