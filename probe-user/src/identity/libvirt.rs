//! What libvirt's run-time state says about a VM: `/run/libvirt/qemu/NAME.xml`, which libvirt writes before QEMU runs.
//!
//! Pure over the file's bytes. Names are used again, so a file counts only if its process is the VM's own. Users of
//! libvirt choose the metadata, whole elements of it: sizes are bounded before anything is parsed. A launcher pod of
//! KubeVirt has a libvirt of its own, whose files are out of reach.

use roxmltree::{Document, Node, ParsingOptions};

use super::text::{bounded, canonical_uuid};

/// A running domain as libvirt knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domain {
    /// Process id of the VMM.
    pub pid: u32,
    /// libvirt's name for it.
    pub name: Option<String>,
    /// Canonical UUID.
    pub uuid: Option<String>,
    /// A title that somebody gave it.
    pub title: Option<String>,
    /// What OpenStack Nova says of it.
    pub nova: Nova,
}

/// OpenStack Nova's metadata of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nova {
    /// The instance's name, as its user chose it.
    pub name: Option<String>,
    /// The project's name.
    pub project: Option<String>,
    /// The project's id.
    pub project_id: Option<String>,
    /// The name of the user who made it.
    pub owner: Option<String>,
}

/// The most of a file that is read: a VM with hundreds of disks has some hundred KiB.
pub const MAX_FILE: usize = 1024 * 1024;
/// Elements and texts of a file.
const MAX_NODES: u32 = 64 * 1024;
/// The longest tag with the text after it, in bytes: the parser compares every attribute with every other of its element.
const MAX_TAG: usize = 16 * 1024;
/// Declarations of namespaces: the parser copies them into every element that adds one.
const MAX_NAMESPACES: usize = 64;
/// Without its version, of which 1.0 and 1.1 are in use.
const NOVA_NAMESPACE: &str = "http://openstack.org/xmlns/libvirt/nova/";

/// The file of the domain `name`; `None` where that could not be a plain name in libvirt's directory.
#[must_use]
pub fn file_name(name: &str) -> Option<String> {
    const LONGEST: usize = 255;
    let file = format!("{name}.xml");
    (!name.is_empty() && !name.contains(['/', '\0']) && file.len() <= LONGEST).then_some(file)
}

/// Reads a `domstatus` file; `None` for anything else.
#[must_use]
pub fn parse(file: &[u8]) -> Option<Domain> {
    let text = str::from_utf8(file).ok().filter(|_| is_modest(file))?;
    // Neither document types nor the entities that only they can declare: the parser refuses them by default.
    let options = ParsingOptions {
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options).ok()?;
    let status = document.root_element();
    if !status.has_tag_name("domstatus") {
        return None;
    }
    let domain = child(status, "domain")?;
    Some(Domain {
        pid: status.attribute("pid")?.parse().ok().filter(|pid| *pid != 0)?,
        name: text_of(child(domain, "name")),
        uuid: text_of(child(domain, "uuid")).and_then(|uuid| canonical_uuid(&uuid)),
        title: text_of(child(domain, "title")),
        nova: child(domain, "metadata").map(nova).unwrap_or_default(),
    })
}

/// Whether the parser's work on this file is in proportion to its size.
fn is_modest(file: &[u8]) -> bool {
    let namespaces = file.windows(5).filter(|word| word == b"xmlns").count();
    // A value may hold `>`, but never `<`.
    let mut tags = file.split(|byte| *byte == b'<');
    file.len() <= MAX_FILE && namespaces <= MAX_NAMESPACES && tags.all(|tag| tag.len() <= MAX_TAG)
}

fn nova(metadata: Node<'_, '_>) -> Nova {
    let Some(instance) = nova_child(metadata, "instance") else {
        return Nova::default();
    };
    let owner = nova_child(instance, "owner");
    let project = owner.and_then(|owner| nova_child(owner, "project"));
    Nova {
        name: text_of(nova_child(instance, "name")),
        project: text_of(project),
        project_id: project.and_then(|project| bounded(project.attribute("uuid")?)),
        owner: text_of(owner.and_then(|owner| nova_child(owner, "user"))),
    }
}

fn child<'a, 'input>(parent: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    parent.children().find(|node| node.has_tag_name(name))
}

fn nova_child<'a, 'input>(parent: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    parent.children().find(|node| {
        let tag = node.tag_name();
        tag.name() == name && tag.namespace().is_some_and(|uri| uri.starts_with(NOVA_NAMESPACE))
    })
}

fn text_of(node: Option<Node<'_, '_>>) -> Option<String> {
    bounded(node?.text()?.trim())
}

#[cfg(test)]
mod tests;
