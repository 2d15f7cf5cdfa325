"""Systems to and from QuTiP."""

import numpy as np
import pytest
from conftest import require_module

import hpcsim
from hpcsim.models import kerr_oscillator, spin_network
from hpcsim.system.matrices import hamiltonian

qutip = require_module("qutip")


def system(S):
    edges = [[0, 1, 0.7]]
    params = {"sites": 2, "S": S, "Jx": 1, "Jz": 0.4, "edges": edges, "field_z": [0.3, -0.2], "field_y": 0.5}
    return spin_network.build(spin_network.Params(**params, twist=0.6, decay=[1.0, 0.4], resolve=True))


@pytest.mark.parametrize("S", [0.5, 1])
def test_steady_state_and_round_trip(S):
    first = system(S)
    H, c_ops = hpcsim.to_qutip(first)
    state = qutip.steadystate(H, c_ops)
    sz = [
        qutip.expect(
            qutip.tensor(*(qutip.jmat(S, "z") if i == j else qutip.qeye(int(2 * S + 1)) for j in (0, 1))), state
        )
        for i in (0, 1)
    ]
    assert np.allclose(hpcsim.solve(first).Sz, sz, atol=1e-8) and abs(sz[0] - sz[1]) > 0.01
    back = hpcsim.from_qutip(H, c_ops)
    again, jumps = hpcsim.to_qutip(back)
    one = H - H.tr() / H.shape[0]
    assert np.allclose((again - again.tr() / H.shape[0] - one).full(), 0, atol=1e-9)
    assert all(np.allclose(a.full(), b.full()) for a, b in zip(jumps, c_ops, strict=True))


def test_a_boson_mode_rises_from_the_vacuum():
    mode = kerr_oscillator.build(kerr_oscillator.Params(detuning=1, U=1, F=1, D=1, cutoff=4))
    _, c_ops = hpcsim.to_qutip(mode)
    lowering = c_ops[0].full()
    assert np.allclose(lowering / lowering[0, 1], qutip.destroy(4).full())


def test_what_cannot_be_expressed_is_told():
    up, down, one = qutip.sigmap(), qutip.sigmam(), qutip.qeye(2)
    H = qutip.tensor(qutip.sigmaz(), one)
    together = qutip.tensor(down, one) + qutip.tensor(one, down)
    (jumps,) = hpcsim.from_qutip(H, [together]).jumps
    assert jumps.collective and jumps.operators == ("S-",) and np.isclose(jumps.rates[0], 1)
    weighted = 0.3 * qutip.tensor(down, one) - 0.8j * qutip.tensor(one, down)
    system = hpcsim.from_qutip(H, [weighted])
    assert np.allclose(hpcsim.to_qutip(system)[1][0].full(), weighted.full())
    with pytest.raises(ValueError, match=r"c_ops\[1\] is no multiple"):
        hpcsim.from_qutip(H, [together, qutip.tensor(up, down)])
    with pytest.raises(ValueError, match="different spin components of one site"):
        hpcsim.from_qutip(qutip.jmat(1, "x") * qutip.jmat(1, "z") + qutip.jmat(1, "z") * qutip.jmat(1, "x"), [])
    assert hamiltonian(hpcsim.from_qutip(H, [])).shape == (4, 4)
