//! Scores of CVSS 3.0 and 3.1 (first.org/cvss/v3.1/specification-document, section 7.1).

use super::Severity;

/// Returns the base score of `vector`, from 0 to 10 in tenths; `None` if it is no vector of version 3.
pub fn base_score(vector: &str) -> Option<u32> {
    let metrics = vector
        .strip_prefix("CVSS:3.0/")
        .or_else(|| vector.strip_prefix("CVSS:3.1/"))?;
    let metric = |name: &str| {
        metrics
            .split('/')
            .find_map(|own| own.strip_prefix(name)?.strip_prefix(':'))
    };
    let is_changed = match metric("S")? {
        "C" => true,
        "U" => false,
        _ => return None,
    };
    let vector_weight = match metric("AV")? {
        "N" => 0.85,
        "A" => 0.62,
        "L" => 0.55,
        "P" => 0.2,
        _ => return None,
    };
    let complexity = match metric("AC")? {
        "L" => 0.77,
        "H" => 0.44,
        _ => return None,
    };
    let privileges = match (metric("PR")?, is_changed) {
        ("N", _) => 0.85,
        ("L", false) => 0.62,
        ("L", true) => 0.68,
        ("H", false) => 0.27,
        ("H", true) => 0.5,
        _ => return None,
    };
    let interaction = match metric("UI")? {
        "N" => 0.85,
        "R" => 0.62,
        _ => return None,
    };
    let impact_of = |name: &str| match metric(name)? {
        "H" => Some(0.56_f64),
        "L" => Some(0.22),
        "N" => Some(0.0),
        _ => None,
    };
    let sub = 1.0 - (1.0 - impact_of("C")?) * (1.0 - impact_of("I")?) * (1.0 - impact_of("A")?);
    let impact = match is_changed {
        true => 7.52 * (sub - 0.029) - 3.25 * (sub - 0.02).powi(15),
        false => 6.42 * sub,
    };
    if impact <= 0.0 {
        return Some(0);
    }
    let exploitability = 8.22 * vector_weight * complexity * privileges * interaction;
    let sum: f64 = match is_changed {
        true => 1.08 * (impact + exploitability),
        false => impact + exploitability,
    };
    Some(round_up(sum.min(10.0)))
}

/// Rounds up to tenths as appendix A of the specification does, and returns the tenths.
fn round_up(score: f64) -> u32 {
    let whole = (score * 100_000.0).round() as u64;
    let tenths = match whole.is_multiple_of(10_000) {
        true => whole / 10_000,
        false => whole / 10_000 + 1,
    };
    u32::try_from(tenths).unwrap_or(100)
}

/// Returns the severity of a score in tenths (section 5).
pub(super) fn severity(tenths: u32) -> Severity {
    match tenths {
        0 => Severity::Unimportant,
        1..=39 => Severity::Low,
        40..=69 => Severity::Medium,
        70..=89 => Severity::High,
        _ => Severity::Critical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_specification() {
        // From FIRST's document of examples.
        for (vector, tenths) in [
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 61),
            ("CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 64),
            ("CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 31),
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 75),
            ("CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", 99),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 98),
            ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:N/I:N/A:N", 0),
        ] {
            assert_eq!(base_score(vector), Some(tenths), "{vector}");
        }
        for vector in [
            "",
            "CVSS:4.0/AV:N",
            "CVSS:3.1/",
            "CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
        ] {
            assert_eq!(base_score(vector), None, "{vector}");
        }
    }
}
