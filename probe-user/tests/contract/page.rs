//! `snapshot --format html`: pages of fabricated hosts. `PAGES=DIR cargo test -p probe-user --test contract page` keeps them, for
//! eyes and for the browser of `cargo xtask test`.

use std::{fs, path::PathBuf};

use ldrscope::{
    clock::WallClock,
    engine::Engine,
    escape::is_unsafe,
    explain,
    message::read,
    sink::{
        html::{Page, render},
        snapshot_html, snapshot_json,
    },
};
use probe_apic::{
    apicv::Inhibit,
    finding::Rule,
    id::{BootTime, VcpuId},
    lapic::Lapic,
    map_rules::MapRules,
    observation::{Irqchip, VcpuSample, VmSample},
    reg::{ApicBase, Ldr},
};

use crate::fixture::{
    MS, bigsmp, clustered, engine, feed, healthy, pin, read as sampled, sample, seen, vcpu,
};

const WALL: WallClock = WallClock::booted_at(1_700_000_000_000_000_000);

fn page(name: &str, engine: &Engine) -> String {
    let mut text = Vec::new();
    snapshot_html::write(&mut text, &engine.view(BootTime(200 * MS)), WALL).unwrap();
    keep(name, String::from_utf8(text).unwrap())
}

fn keep(name: &str, page: String) -> String {
    if let Some(directory) = std::env::var_os("PAGES").map(PathBuf::from) {
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("{name}.html")), &page).unwrap();
    }
    let stray = page.chars().find(|one| *one != '\n' && is_unsafe(*one));
    assert_eq!(stray, None, "{name}");
    assert_eq!(page.matches("<style>").count(), 1);
    for forbidden in [
        "<script", "<img", "<link", " style=", " onload", "http://", "https://", "url(",
    ] {
        assert!(!page.contains(forbidden), "{name}: {forbidden}");
    }
    page
}

/// Twice, since a divergence has to be confirmed.
fn observe(engine: &mut Engine, samples: &[VmSample]) {
    for at in [MS, 100 * MS] {
        let again = samples.iter().cloned().map(|sample| VmSample {
            at: BootTime(at),
            ..sample
        });
        feed(engine, at, again.map(sampled).collect::<Vec<_>>());
    }
}

/// A crashed guest of 2019 under `rules`: vCPU 0 lives, five are stopped, the rest is left over and on.
fn crashed(vm: u64, rules: MapRules) -> VmSample {
    let mut vcpus = bigsmp(16);
    vcpus[0] = vcpu(0, 1);
    for stopped in &mut vcpus[11..] {
        stopped.lapic.sw_enabled = false;
        stopped.lapic.svr.0 = 0xff;
    }
    let mut sample = sample(vm, MS, vcpus, rules);
    sample.aims.push(pin(2, 0x01));
    sample
}

fn x2apics(count: u32) -> Vec<VcpuSample> {
    let one = |number: u32| {
        let mut vcpu = vcpu(number, 0);
        vcpu.lapic.id = number;
        vcpu.lapic.ldr = Ldr::of_x2apic(number);
        vcpu.lapic.apic_base = ApicBase(0xfee0_0c00);
        vcpu
    };
    (0..count).map(one).collect()
}

/// A value of an attribute, for each element that has it.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let before = format!(" {attribute}=\"");
    let parts = page.split(before.as_str()).skip(1);
    parts.filter_map(|part| part.split('"').next()).collect()
}

#[test]
fn a_host_without_vms_says_so() {
    let page = page("no-vm", &engine(MapRules::Overwrite, None));
    assert!(page.contains("There is no VM on this host."));
    assert!(!page.contains("<table"));
}

#[test]
fn a_crashed_guest_has_its_wrong_slots_drawn_and_its_findings_explained() {
    let rules = MapRules::KeepDisabled;
    let mut engine = engine(rules, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    observe(&mut engine, &[crashed(1, rules)]);
    let page = page("crashed", &engine);

    // Published and rebuilt, eight slots each.
    assert_eq!(values(&page, "data-slot").len(), 16);
    let slot = r#"<g class="slot wrong" data-slot="0:0" data-owner="15" data-claims="0, 1, 3, 5, 7, 9"><title>slot 0: vCPU 15 has it, claimed by vCPUs 0, 1, 3, 5, 7, 9</title>"#;
    assert_eq!(page.matches(slot).count(), 2, "{page}");
    let view = engine.view(BootTime(200 * MS));
    let findings = &view.vms[0].findings;
    let rules: Vec<&str> = values(&page, "data-rule");
    assert_eq!(rules.len(), findings.len());
    for finding in findings {
        let rule = finding.key.rule;
        assert!(rules.contains(&rule.name()));
        assert!(page.contains(&format!("<a href=\"#rule-{rule}\">{rule}</a>")));
        assert_eq!(page.matches(&format!("id=\"rule-{rule}\"")).count(), 1);
        assert!(page.contains(&finding.summary), "{}", finding.summary);
    }
    assert!(page.contains("<h5>What KVM makes of it</h5>\n<ul>\n<li><strong><code>keep-disabled</code>"));
    assert!(
        !page.contains(explain::gist(Rule::DfrInvalid)),
        "what is not there is not explained"
    );
    assert!(page.contains("IOAPIC pin 2 -&gt; destination 0x01, vector 0x30"));
    assert!(
        page.contains(r#"0000 00<b>1</b><b>1</b>"#) || page.contains("<b>1</b>0000"),
        "LDRs have bits"
    );
    let verdicts = values(&page, "data-verdict");
    assert!(verdicts.contains(&"lost") || verdicts.contains(&"misrouted") || verdicts.contains(&"partial"));
}

#[test]
fn many_vms_have_a_section_each_and_the_worst_leads_the_list() {
    let rules = MapRules::ConflictDisables;
    let mut engine = engine(rules, None);
    for (vm, pid) in [(1, 200), (2, 100), (3, 300), (4, 400), (5, 500), (6, 600)] {
        feed(&mut engine, 0, seen(vm, pid, 0));
    }
    let mut disabled = crashed(2, rules);
    disabled.apicv_inhibits = [Inhibit::named("logical_id_aliased")].into_iter().collect();
    let mut userspace = sample(3, MS, Vec::new(), rules);
    userspace.irqchip = Irqchip::Userspace;
    let mut diverged = sample(4, MS, healthy(8), rules);
    if let Some(map) = &mut diverged.published {
        map.slots.remove(2);
    }
    let samples = [
        sample(1, MS, healthy(4), rules),
        disabled,
        userspace,
        diverged,
        sample(5, MS, clustered(22), rules),
        sample(6, MS, x2apics(40), rules),
    ];
    observe(&mut engine, &samples);
    let page = page("many", &engine);
    assert_eq!(page.matches("<section class=\"vm\" id=\"vm-").count(), 6);
    let section = |vm: u32| page.find(&format!("id=\"vm-{vm}\"")).unwrap();
    assert!(section(2) < section(1) && section(4) < section(1));
    let first = page.find("href=\"#vm-2\"").unwrap();
    assert!(
        [1, 3, 5, 6]
            .iter()
            .all(|vm| page.find(&format!("href=\"#vm-{vm}\"")).unwrap() > first)
    );
    for part in [
        "emulates the local APICs itself",
        "given up; KVM scans all vCPUs for every logical interrupt",
        "Claimed by the vCPUs",
        "by x2APIC ID; there are no slots",
        "logical_id_aliased",
        "<g class=\"slot missing\"",
        "data-slot=\"5:1\" data-owner=\"21\"",
        "from ID",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_thousand_vcpus_fit_on_a_page() {
    let rules = MapRules::Overwrite;
    let mut engine = engine(rules, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    let mut vcpus = bigsmp(255);
    vcpus.extend((255..1024).map(|number| vcpu(number, number % 255)));
    let mut sample = sample(1, MS, vcpus, rules);
    sample.aims.push(pin(2, 0x01));
    observe(&mut engine, &[sample]);
    let page = page("vcpus-1024", &engine);
    assert!(page.len() < 3 << 20, "{} bytes", page.len());
    assert!(page.contains("960 more rows"));
    assert_eq!(values(&page, "data-vcpu").len(), 1024);
}

#[test]
fn what_another_kvm_would_make_of_it_is_headed_as_such() {
    let rules = MapRules::ConflictDisables;
    let mut engine = engine(rules, None).as_kvm(Some(MapRules::Overwrite));
    feed(&mut engine, 0, seen(1, 100, 0));
    observe(&mut engine, &[crashed(1, rules)]);
    let page = page("as-kvm", &engine);
    assert!(page.contains("Judged as a KVM with map rules <b>overwrite</b>"));
    assert_eq!(values(&page, "data-slot").len(), 8, "there is no published map");
}

/// Every text of the document is hostile, also those that are ldrscope's own words.
#[test]
fn no_text_of_a_document_becomes_markup_or_a_control() {
    const EVIL: &str =
        "\u{202e}</title></style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[2J&amp;";
    fn poison(value: &mut serde_json::Value, key: &str) {
        match value {
            serde_json::Value::String(text) if key != "schema" => *text = EVIL.to_owned(),
            serde_json::Value::Object(members) => {
                members.iter_mut().for_each(|(key, value)| poison(value, key))
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(|item| poison(item, key)),
            _ => {}
        }
    }
    let rules = MapRules::Overwrite;
    let mut engine = engine(rules, None);
    for (vm, pid) in [(1, 100), (2, 200)] {
        feed(&mut engine, 0, seen(vm, pid, 0));
    }
    let mut inhibited = crashed(1, rules);
    inhibited.apicv_inhibits = [Inhibit::named("logical_id_aliased")].into_iter().collect();
    observe(&mut engine, &[inhibited, sample(2, MS, healthy(2), rules)]);
    let view = engine.view(BootTime(200 * MS));
    let mut text = Vec::new();
    snapshot_json::write(&mut text, &view, WALL).unwrap();
    let mut evil: serde_json::Value = serde_json::from_slice(&text).unwrap();
    // The modes decide what is drawn, so they stay; all else is poisoned.
    let vms = evil["vms"].clone();
    poison(&mut evil, "");
    for (place, vm) in vms.as_array().unwrap().iter().enumerate() {
        for map in ["published", "rebuilt"] {
            evil["vms"][place]["map"][map]["mode"] = vm["map"][map]["mode"].clone();
        }
        for (number, finding) in vm["findings"].as_array().unwrap().iter().enumerate() {
            evil["vms"][place]["findings"][number]["rule"] = finding["rule"].clone();
            evil["vms"][place]["findings"][number]["cause"] = finding["cause"].clone();
            evil["vms"][place]["findings"][number]["confidence"] = "uncertain".into();
        }
    }
    let evil = read::snapshot("evil", evil.to_string().as_bytes()).unwrap();
    let page = keep(
        "hostile",
        render(&Page {
            snapshot: &evil,
            deliveries: &[],
            as_kvm: None,
        }),
    );
    assert!(page.contains("\\u{202e}&lt;/title&gt;&lt;/style&gt;&lt;script&gt;"));
    // Each tag but those without content is closed: none was cut short by a name.
    for tag in [
        "section", "article", "table", "tr", "td", "g", "svg", "text", "title", "dd", "p", "a", "span",
    ] {
        let opened = page.matches(&format!("<{tag} ")).count() + page.matches(&format!("<{tag}>")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn power_on_is_drawn_as_nobody_claiming_anything() {
    let rules = MapRules::Overwrite;
    let mut engine = engine(rules, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    let mut vcpus = healthy(4);
    for vcpu in &mut vcpus {
        vcpu.lapic = Lapic::power_on(VcpuId(vcpu.id.0));
    }
    observe(&mut engine, &[sample(1, MS, vcpus, rules)]);
    let page = page("power-on", &engine);
    assert!(page.contains("no enabled vCPU has a logical ID"));
    assert!(values(&page, "data-slot").is_empty());
}
