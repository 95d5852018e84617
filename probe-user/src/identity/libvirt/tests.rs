//! Run-time files as libvirt writes them, and as somebody might have it write them.

use proptest::prelude::*;
use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::identity::text::MAX_TEXT;

const UUID: &str = "30ad89ac-5906-49ca-8d52-3c6343c598f6";

fn status(domain: &str) -> String {
    format!(
        "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE.\n-->\n\n\
         <domstatus state='running' reason='booted' pid='4711'>\n  \
           <monitor path='/var/lib/libvirt/qemu/domain-11-x/monitor.sock' type='unix'/>\n  \
           <vcpus>\n    <vcpu id='0' pid='4715'/>\n  </vcpus>\n  \
           <domain type='kvm' id='11'>\n{domain}\n  </domain>\n\
         </domstatus>\n"
    )
}

fn nova_instance() -> String {
    status(&format!(
        "<name>instance-00000042</name>\n<uuid>{UUID}</uuid>\n<title>a &amp; b</title>\n\
         <metadata>\n\
           <other:thing xmlns:other='urn:x'><other:name>no</other:name></other:thing>\n\
           <nova:instance xmlns:nova=\"http://openstack.org/xmlns/libvirt/nova/1.1\">\n\
             <nova:package version=\"25.0.0\"/>\n\
             <nova:name>web &lt;1&gt;</nova:name>\n\
             <nova:flavor name=\"m1.normal\"><nova:memory>1024</nova:memory></nova:flavor>\n\
             <nova:owner>\n\
               <nova:user uuid=\"5a86b1db33b64571953b2022186010fe\">alice</nova:user>\n\
               <nova:project uuid=\"995b4947cc4044fba99bade057053803\">shop</nova:project>\n\
             </nova:owner>\n\
           </nova:instance>\n\
         </metadata>"
    ))
}

#[test]
fn a_nova_instance_has_both_its_names() {
    let domain = parse(nova_instance().as_bytes()).unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        domain,
        Domain {
            pid: 4711,
            name: text("instance-00000042"),
            uuid: text(UUID),
            title: text("a & b"),
            nova: Nova {
                name: text("web <1>"),
                project: text("shop"),
                project_id: text("995b4947cc4044fba99bade057053803"),
                owner: text("alice"),
            },
        }
    );
}

#[test]
fn an_ordinary_domain_has_no_nova_name_and_anothers_metadata_gives_it_none() {
    let plain = parse(status(&format!("<name>web</name><uuid>{UUID}</uuid>")).as_bytes()).unwrap();
    assert_eq!(
        (plain.name.as_deref(), plain.nova),
        (Some("web"), Nova::default())
    );
    let forged = nova_instance().replace("http://openstack.org/", "http://example.org/");
    assert_eq!(parse(forged.as_bytes()).unwrap().nova, Nova::default());
}

#[test]
fn what_is_no_status_file_says_nothing() {
    let whole = nova_instance();
    for odd in [
        String::new(),
        "<domain><name>x</name></domain>".to_owned(),
        whole.replace(" pid='4711'", ""),
        whole.replace("4711", "0"),
        whole.replace("4711", "-1"),
        whole
            .replace("<domain ", "<demain ")
            .replace("</domain>", "</demain>"),
        whole[..whole.len() / 2].to_owned(),
    ] {
        assert_eq!(parse(odd.as_bytes()), None, "{odd}");
    }
    assert_eq!(parse(b"<domstatus pid='1'>\xff</domstatus>"), None);
}

#[test]
fn document_types_and_entities_are_refused() {
    let bomb = "<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]>";
    let with_bomb = nova_instance().replace("web", "&b;");
    assert_eq!(parse(format!("{bomb}{with_bomb}").as_bytes()), None);
    assert_eq!(parse(with_bomb.as_bytes()), None);
    let outside = "<!DOCTYPE d SYSTEM 'file:///etc/passwd'>";
    assert_eq!(parse(format!("{outside}{}", nova_instance()).as_bytes()), None);
}

#[test]
fn metadata_made_to_keep_a_parser_busy_does_not() {
    let many = |part: &dyn Fn(usize) -> String, count| (0..count).map(part).collect::<String>();
    let attributes = format!("<a {}/>", many(&|i| format!("a{i}='>' "), 60_000));
    let namespaces = many(&|i| format!("<a xmlns:n{i}='u'>"), 20_000) + &"</a>".repeat(20_000);
    let deep = "<a>".repeat(30_000) + &"</a>".repeat(30_000);
    let flat = "<a/>".repeat(200_000);
    let texts = "&#65;".repeat(190_000);
    // Of this thread alone: other tests and a busy machine do not count.
    let spent = || clock_gettime(ClockId::ThreadCPUTime).tv_sec;
    let start = spent();
    for metadata in [attributes, namespaces, deep, flat, texts] {
        let file = status(&format!("<name>x</name><metadata>{metadata}</metadata>"));
        let _ = parse(file.as_bytes());
    }
    let seconds = spent() - start;
    assert!(seconds < 5, "{seconds} s");
}

#[test]
fn a_name_that_is_no_plain_file_name_has_no_file() {
    assert_eq!(file_name("web").as_deref(), Some("web.xml"));
    assert_eq!(file_name("..").as_deref(), Some("...xml"));
    for odd in ["", "../x", "a/b", "/etc/passwd", "a\0b"] {
        assert_eq!(file_name(odd), None, "{odd:?}");
    }
    assert_eq!(file_name(&"x".repeat(252)), None);
}

proptest! {
    #[test]
    fn whatever_a_file_holds_what_is_kept_is_bounded(
        cut in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..30),
        name in "\\PC{0,400}",
    ) {
        let escaped = name.replace('&', "&amp;").replace('<', "&lt;");
        let mut file = nova_instance().replace("web", &escaped).into_bytes();
        let whole = parse(&file);
        prop_assert!(whole.is_some());
        prop_assert!(whole.and_then(|domain| domain.nova.name).is_none_or(|name| name.len() <= MAX_TEXT));
        let at = cut.index(file.len());
        file.splice(at..at, bytes);
        if let Some(domain) = parse(&file) {
            let kept = [domain.name, domain.title, domain.nova.name, domain.nova.project, domain.nova.owner];
            prop_assert!(kept.into_iter().flatten().all(|text| text.len() <= MAX_TEXT));
        }
    }
}
