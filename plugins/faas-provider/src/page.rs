//! Pages over lists that the API gives as a whole.

/// The part of `items` after `cursor`, at most `limit` long, and the cursor of the next part. The
/// order is that of the names, and the cursor the last name of a page, so that pages stay in step
/// when items come and go between two calls.
pub(crate) fn cut<T>(
    mut items: Vec<T>,
    name: impl Fn(&T) -> &str,
    cursor: Option<&str>,
    limit: u32,
) -> (Vec<T>, Option<String>) {
    let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
    items.retain(|item| cursor.is_none_or(|cursor| name(item) > cursor));
    items.sort_unstable_by(|a, b| name(a).cmp(name(b)));
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(|item| name(item).to_owned()) } else { None };
    (items, next)
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn pages_cover_all_names_once() {
        let all = || vec!["d", "a", "c", "b", "e"];
        let mut seen = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let (page, next) = cut(all(), |name| name, cursor.as_deref(), 2);
            seen.extend(page);
            match next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    }
}
