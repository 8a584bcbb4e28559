"""``mer bench flow`` on a few quiet clips, where the flow is known to be found."""

from mer.bench import flow


def test_the_flow_is_nearer_to_the_field_than_no_flow() -> None:
    result = flow.measure(subjects=2, clips_per_class=1, noise=0.5, blink=0.0, head=0.0, light=0.0)
    assert result["pairs"] == 6
    assert 0 < result["longest_px"] <= 2.0
    for name in flow.PRESETS:
        assert result[name]["endpoint_error_px"] < 0.7 * result[name]["no_flow_error_px"]
        assert result[name]["correlation_median"] > 0.8
    assert result["ratio"] > 0
