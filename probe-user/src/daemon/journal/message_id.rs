//! `MESSAGE_ID`: one fixed number a rule and a kind of status, by which a journal is searched and catalogued.
//!
//! They are random and of ours alone, and part of the contract: `journalctl MESSAGE_ID=...` in somebody's script depends on
//! them, so one is never changed nor used for anything else.

use probe_apic::finding::Rule;

use crate::engine::output::StatusKind;

/// The number of a rule's events.
#[must_use]
pub const fn of_rule(rule: Rule) -> u128 {
    match rule {
        Rule::LdrMultiBit => 0xefe7_f021_b039_404e_8876_7d21_3055_d818,
        Rule::LdrCollision => 0xb9a3_ea2a_3f04_4445_8a73_438e_66a6_00b1,
        Rule::LdrStale => 0x7fc0_cc3e_0be3_42ea_81b1_38c1_7aa5_95e1,
        Rule::LdrUnset => 0x19e7_6827_7f00_4694_b3e2_e9d8_9ec9_4898,
        Rule::ModeMixed => 0xd72e_3d56_2bbf_40eb_a204_4f63_889b_e1e4,
        Rule::DfrInvalid => 0xd48f_15a3_0b5f_4ca9_ba75_5a03_8396_54d2,
        Rule::X2apicIdMismatch => 0x29d0_0614_15fe_46da_b78d_6a90_2c5b_2445,
        Rule::PhysicalAlias => 0xafa7_357f_39dd_47db_8bb1_ff94_3c83_9835,
        Rule::MapDisabled => 0x5d3e_0738_6ef2_4e8a_93f8_fc51_fa21_8e18,
        Rule::ApicvInhibited => 0xea34_6da8_efea_4288_854d_264b_5e9a_b9c1,
        Rule::MapDivergence => 0x388f_87ca_ed8e_4c7a_aada_f6c0_9216_7b39,
        Rule::InterruptLost => 0xdfae_a191_4dcc_4a4c_ac8e_181c_829c_b4e7,
        Rule::InterruptMisrouted => 0xc184_a53f_42bb_45ec_8987_5664_2e35_5b75,
    }
}

/// The number of a kind of status.
#[must_use]
pub const fn of_status(kind: StatusKind) -> u128 {
    match kind {
        StatusKind::Lost { .. } => 0x64da_6955_721b_4bff_b54e_72af_fa05_f42a,
        StatusKind::Uncertain => 0xb20c_d48f_e437_4e0f_9c79_d2d1_e7ae_bfc9,
        StatusKind::Certain => 0xe23e_9a60_26e5_4cc5_b9ce_0bad_70d4_3333,
        StatusKind::VmGone => 0x6f7f_dce0_4bd3_438d_96ce_e3e3_1be6_9814,
        StatusKind::Suppressed { .. } => 0xea19_ebce_e359_4b5d_9521_e1d5_b204_6bc4,
        StatusKind::OutputLost { .. } => 0x51c5_1808_5f29_4f93_8d41_d9ed_060a_0952,
        StatusKind::Uncounted { .. } => 0xcca4_2de4_830e_4039_a8cd_20e6_6c8d_9ff0,
        StatusKind::RecordingCut => 0x920b_23df_7803_4b12_8d8a_0fa1_02a9_e733,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const STATUSES: [StatusKind; 8] = [
        StatusKind::Lost { records: 1 },
        StatusKind::Uncertain,
        StatusKind::Certain,
        StatusKind::VmGone,
        StatusKind::Suppressed { lines: 1 },
        StatusKind::OutputLost { lines: 1 },
        StatusKind::Uncounted { interrupts: 1 },
        StatusKind::RecordingCut,
    ];

    #[test]
    fn every_kind_of_message_has_a_number_of_its_own() {
        let rules = Rule::ALL.map(of_rule);
        let all: BTreeSet<u128> = rules.into_iter().chain(STATUSES.map(of_status)).collect();
        assert_eq!(all.len(), rules.len() + STATUSES.len());
        // journald takes 32 hexadecimal digits; a leading zero would be easy to lose in a script.
        assert!(all.iter().all(|id| id.leading_zeros() < 4));
    }

    #[test]
    fn the_documentation_has_every_number_by_its_name() {
        let page = include_str!("../../../../docs/outputs.md");
        let statuses = STATUSES.map(|kind| (kind.name(), of_status(kind)));
        for (name, id) in Rule::ALL
            .map(|rule| (rule.name(), of_rule(rule)))
            .into_iter()
            .chain(statuses)
        {
            assert!(page.contains(&format!("| `{name}` | `{id:032x}` |")), "{name}");
        }
    }
}
