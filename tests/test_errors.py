import builtins
import inspect

from neuronkit import errors


def test_every_error_derives_from_the_root_and_from_a_builtin() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
    assert len(classes) > 10
    for cls in classes:
        assert issubclass(cls, errors.NeuronKitError)
        if cls is not errors.NeuronKitError:
            assert any(base.__module__ == builtins.__name__ and base is not Exception for base in cls.__mro__[:-3])
