//! How every question is asked: the generation, a lease, the guest's function, the answer checked.
//!
//! Macros, since the generated functions of ten interfaces share no trait. What they name is imported by
//! whoever uses them.

/// The function that a question is about, if it is about one.
macro_rules! about {
    () => {
        None
    };
    ($function:expr) => {
        Some($function)
    };
}

/// One call: the generation that serves, a lease, the guest's function, and the answer checked.
/// `waiting` is what the platform may be waited for, on top of what the turn allows.
macro_rules! ask {
    ($self:ident $(for $function:ident)? $(in $namespace:ident)?, $field:ident as $turn:ident $(waiting $wait:expr)?,
     |$guest:ident, $store:ident| $call:expr, |$active:ident, $answer:ident| $convert:expr $(,)?) => {{
        let $active = $self.serving(about!($($function)?))?;
        let plugin = &*$active.plugin;
        // Pinned where they are: moving these futures cost as much as the rest of the host's part of a call.
        let call = pin!(async {
            $(plugin.shared.confine(&$function.namespace)?;)?
            $(plugin.shared.confine(&$namespace)?;)?
            if plugin.exports.$field.is_none() {
                return Err(missing(slot::$field));
            }
            let wall = Turn::$turn.wall(&plugin.shared.limits) $(+ $wait)?;
            let ask = Ask { slot: slot::$field, turn: Turn::$turn, wall, function: about!($($function)?) };
            let mut lease = Lease::take(plugin, $active.number, ask).await?;
            let (store, guests, instance, bounds) = lease.parts();
            let returned = {
                let guest_call = pin!(async {
                    let found = guests.$field(&plugin.exports, &mut *store, instance)?;
                    let $guest = found.ok_or_else(|| wasmtime::format_err!("an export is gone"))?;
                    let $store = &mut *store;
                    $call.await
                });
                bounds.run(guest_call).await
            };
            lease.end(returned, |$answer| $convert)
        });
        let answered: Result<_, QueryError> = tokio::select! {
            // The call first: most return at once, and then nobody waits for a cut.
            biased;
            answered = call => answered,
            () = $active.gate.cut(Turn::$turn) => Err(drain::cut()),
        };
        if let Some(begun) = $active.begun
            && let Some(canary) = $self.canary.load().as_ref()
        {
            canary.count($active.number, &answered, Moment::now().since(begun));
        }
        answered.map_err(|error| error.of(&$self.name, $active.number)$(.about($function))?)
    }};
}
