def test_the_tower_gives_features_for_more_than_one_layer(case, features):
    num_deepstack = len(case.stock.config.vision_config.deepstack_visual_indexes)
    assert num_deepstack > 1
    assert features.shape[1] == case.adapter.similarity_dim * (1 + num_deepstack)
