//! Slurm's short ways of writing lists.

/// The first host of a list such as `gpu[017-018,020],login1`.
pub(super) fn first(list: &str) -> Option<String> {
    let list = list.trim();
    let end = list.find([',', '[']).unwrap_or(list.len());
    let (prefix, rest) = list.split_at(end);
    let Some(inside) = rest.strip_prefix('[') else {
        return (!prefix.is_empty()).then(|| prefix.to_owned());
    };
    let (numbers, after) = inside.split_once(']')?;
    let number = numbers.split([',', '-']).next()?;
    // A name may go on behind its number.
    let suffix = after.split(',').next().unwrap_or_default();
    (!suffix.contains('[')).then(|| format!("{prefix}{number}{suffix}"))
}

/// Entry `index` of a list such as `4(x2),3`, which is 4, 4, 3.
pub(super) fn repeated(list: &str, index: usize) -> Option<usize> {
    let mut before = 0;
    for entry in list.split(',') {
        let (value, times) = match entry.trim().split_once("(x") {
            Some((value, times)) => (value, times.strip_suffix(')')?.parse().ok()?),
            None => (entry.trim(), 1),
        };
        before += times;
        if index < before {
            return value.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_host_of_a_list() {
        for (list, host) in [
            ("node1", "node1"),
            ("node1,node2", "node1"),
            ("gpu[017-018,020],login1", "gpu017"),
            ("gpu[3,5-9]", "gpu3"),
            ("rack1-[02-04]-ib", "rack1-02-ib"),
            ("a,b[1-2]", "a"),
        ] {
            assert_eq!(first(list).as_deref(), Some(host), "{list}");
        }
        assert_eq!(first(""), None);
        assert_eq!(first("gpu[1"), None);
    }

    #[test]
    fn entries_of_a_repeated_list() {
        let entries: Vec<_> = (0..4).map(|index| repeated("4(x2),3", index)).collect();
        assert_eq!(entries, [Some(4), Some(4), Some(3), None]);
        assert_eq!(repeated("8", 0), Some(8));
        assert_eq!(repeated("many", 0), None);
    }
}
