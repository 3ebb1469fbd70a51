"""Whether a contract accepts everything that callers of another one may send."""

from contract.schema import Contract, Feature


def narrower(contract: Contract, served: Contract) -> str:
    """The first thing that `served` accepts and `contract` does not, as the end of a sentence; "" if none.

    Such a contract is the older one: a caller who keeps to the served one would be refused by it. What the
    models answer is not compared.
    """
    features = {feature.name: feature for feature in contract.features}
    for known in served.features:
        feature = features.pop(known.name, None)
        if feature is None:
            return f"lacks '{known.name}'"
        problem = _narrower(feature, known)
        if problem:
            return problem
    for feature in features.values():  # the online store has the others
        if feature.source == "request" and not feature.nullable:
            return f"requires '{feature.name}', which no caller sends yet"
    lost = sorted(set(served.routes) - set(contract.routes))
    if lost:
        return f"no longer claims {lost[0]}"
    # A claimed route takes values by their place.
    if served.routes and [f.name for f in contract.features] != [f.name for f in served.features]:
        return f"takes the values of {served.routes[0]} in another order or number"
    return ""


def _narrower(new: Feature, old: Feature) -> str:
    name = f"'{new.name}'"
    if new.kind != old.kind:
        return f"takes {name} as a {new.kind}, no longer a {old.kind}"
    if old.nullable and not new.nullable:
        return f"refuses {name} where it is null"
    if new.kind == "category":
        return _narrower_category(new, old)
    if new.out_of_range == "accept_and_count":
        return ""
    for bound, word, sign in (("minimum", "below", 1), ("maximum", "above", -1)):
        limit, before = getattr(new, bound), getattr(old, bound)
        before = None if old.out_of_range == "accept_and_count" else before
        if limit is not None and (before is None or sign * limit > sign * before):
            return f"refuses {name} {word} {limit:g}"
    return ""


def _narrower_category(new: Feature, old: Feature) -> str:
    if not new.categories or new.unknown_category == "accept_and_count":
        return ""
    if not old.categories or old.unknown_category == "accept_and_count":
        return f"refuses unknown values of '{new.name}'"
    lost = [word for word in old.categories if word not in new.categories]
    return f"refuses '{lost[0]}' as '{new.name}'" if lost else ""
