//! The tarball: the tree that a host without packages, and the Containerfile, take what they need from.

use anyhow::{Context as _, Result};

use super::{Content, Release, content::File, gzip};

/// The tarball's name and bytes.
pub(super) fn write(release: &Release, content: &Content) -> Result<(String, Vec<u8>)> {
    let root = format!("ldrscope-{}", release.version);
    let files: Vec<File> = content
        .tree()
        .into_iter()
        .map(|file| File {
            path: format!("{root}/{}", file.path),
            ..file
        })
        .collect();
    let bytes = gzip::compress(&tar(&files, release.epoch)?)?;
    Ok((format!("{root}-x86_64.tar.gz"), bytes))
}

/// A tar archive of `files` and the directories above them.
pub(super) fn tar(files: &[File], epoch: u32) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = |path: &str, kind: tar::EntryType, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(u64::from(epoch));
        header.set_size(bytes.len() as u64);
        header
            .set_username("root")
            .and_then(|()| header.set_groupname("root"))?;
        archive.append_data(&mut header, path, bytes)
    };
    for directory in directories(files) {
        header(&directory, tar::EntryType::Directory, 0o755, &[])
            .with_context(|| format!("cannot archive {directory}"))?;
    }
    for file in files {
        header(&file.path, tar::EntryType::Regular, file.mode, &file.bytes)
            .with_context(|| format!("cannot archive {}", file.path))?;
    }
    archive.into_inner().context("cannot end the archive")
}

/// Every directory above `files`, those above others first, each with its trailing slash.
pub(super) fn directories(files: &[File]) -> Vec<String> {
    let mut all: Vec<String> = files
        .iter()
        .flat_map(|file| {
            file.path
                .match_indices('/')
                .map(|(slash, _)| file.path[..=slash].to_owned())
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::content::Kind;

    #[test]
    fn directories_come_before_what_is_in_them_and_everything_is_roots() {
        let file = |path: &str| File {
            path: path.to_owned(),
            mode: 0o644,
            kind: Kind::Plain,
            bytes: b"x".to_vec(),
        };
        let bytes = tar(&[file("a/b/c"), file("a/d")], 1_000).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, 1_000));
                String::from_utf8(entry.path_bytes().into_owned()).unwrap()
            })
            .collect();
        assert_eq!(names, ["a/", "a/b/", "a/b/c", "a/d"]);
    }
}
